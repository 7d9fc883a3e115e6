"""Commands about people, keys and SSH."""
