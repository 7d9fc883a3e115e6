"""Commands for scripts that run many sessions."""
