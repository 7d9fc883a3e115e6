"""The ways into sessions: SSH in, tunnels from agents, HTTP."""
