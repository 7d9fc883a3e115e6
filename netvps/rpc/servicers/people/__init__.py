"""People: users, their keys, and what they did."""
