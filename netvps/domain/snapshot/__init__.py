"""Snapshots of sessions: values, orders for runners, retention; pure."""
