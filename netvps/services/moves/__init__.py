"""Moves of sessions to other runners."""
