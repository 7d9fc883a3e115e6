"""When sessions sleep, and what wakes them; pure."""
