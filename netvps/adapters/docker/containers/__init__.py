"""Containers of sessions in Docker."""
