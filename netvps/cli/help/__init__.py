"""Help, completion, manual pages and the reference in docs/."""
