"""Networks of sessions in Docker, without and with the overlay."""
