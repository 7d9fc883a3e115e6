"""Copies of snapshots on further runners."""
