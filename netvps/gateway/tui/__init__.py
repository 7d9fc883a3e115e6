"""The terminal UI over SSH: a process per viewer on a PTY, and the way from there into sessions."""
