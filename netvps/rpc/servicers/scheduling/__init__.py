"""Services for programs that schedule sessions."""
