"""Adapters: one library or system interface each; library errors are mapped to netvps.errors here only."""
