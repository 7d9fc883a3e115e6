"""The dialer into sessions: SSH in, tunnels from agents, HTTP."""
