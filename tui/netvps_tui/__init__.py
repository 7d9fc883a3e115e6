"""The terminal UI of netvps, a Textual application on netvps.client alone. `run` starts it."""
