"""The SSH gateway: admission, login, and the packet pipe between a client and a session's agent."""
