"""Filters and orders of lists: parsed and matched here, and made conditions of SQL by the store."""
