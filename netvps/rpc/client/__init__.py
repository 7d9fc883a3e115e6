"""Clients of the API: channel, trust, retries, and domain values in and out."""
