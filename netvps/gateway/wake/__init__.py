"""Starts sessions that sleep, for logins."""
