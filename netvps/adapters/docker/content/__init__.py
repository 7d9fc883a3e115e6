"""What the files of sessions and snapshots are: comparisons, and portable archives."""
