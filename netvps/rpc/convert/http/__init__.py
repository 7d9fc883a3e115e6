"""Conversions of URLs."""
