"""The databases that the store runs on: SQLite and PostgreSQL."""
