"""Puts idle sessions to sleep, and wakes them for logins."""
