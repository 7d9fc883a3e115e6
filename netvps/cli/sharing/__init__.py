"""Commands for sessions that several people use."""
