"""Snapshots for logins that read them."""
