"""Messages about sessions to and from domain values."""
