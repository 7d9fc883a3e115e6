"""The terminal UI in browsers: logins, pages, and a process per viewer on a PTY, over a WebSocket."""
