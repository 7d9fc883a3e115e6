"""Runners: what they have, where sessions are scheduled, and the names of what they make in Docker; pure."""
