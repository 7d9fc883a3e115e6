"""Commands about URLs of sessions."""
