"""Messages of services for programs that schedule sessions."""
