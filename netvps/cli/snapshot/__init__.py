"""Snapshots: taken, listed, restored, cloned."""
