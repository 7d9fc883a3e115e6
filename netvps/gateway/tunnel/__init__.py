"""Connections into sessions: dial-back streams of agents, and the overlay."""
