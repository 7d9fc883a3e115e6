"""Which server the commands talk to, and what it is."""
