"""Use cases of the overlay: addresses of sessions, the netmap, the gateway's place on it."""
