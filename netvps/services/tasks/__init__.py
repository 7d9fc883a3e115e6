"""Use cases of tasks, and their scheduler."""
