"""Use cases over ports; knows no transport, no database, no Docker."""
