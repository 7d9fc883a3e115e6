"""Messages about runners and the overlay to and from domain values."""
