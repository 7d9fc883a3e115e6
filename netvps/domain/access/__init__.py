"""Users, credentials and keys, and which connections are admitted before a login; pure."""
