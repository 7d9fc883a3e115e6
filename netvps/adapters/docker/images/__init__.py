"""Images on their way from and to other runners."""
