"""Messages of registration, as values."""
