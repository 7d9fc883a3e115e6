"""Use cases of sharing: shares of sessions, and what follows from their changes."""
