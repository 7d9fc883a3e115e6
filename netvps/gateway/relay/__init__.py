"""Hands joined SSH connections over to the relay: a process in Go (tunnel/relay) that passes their messages."""
