"""Commands about the sleep of sessions."""
