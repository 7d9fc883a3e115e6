"""Commands about this machine, runners and the overlay."""
