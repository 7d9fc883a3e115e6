"""The service of URLs."""
