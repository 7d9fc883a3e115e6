"""Connections of `netvps ssh-proxy`: an SSH client's bytes, which the gateway cannot read, for a session's agent."""
