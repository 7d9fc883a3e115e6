"""Use cases of sessions: create, start, stop, watch, and the assignment to runners."""
