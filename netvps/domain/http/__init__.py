"""URLs of sessions: which host leads to which port; pure."""
