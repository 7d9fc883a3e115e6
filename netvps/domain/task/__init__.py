"""Tasks: commands that run to their end, each in a container of its own."""
