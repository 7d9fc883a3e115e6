"""Images on runners that sessions are made from: environments."""
