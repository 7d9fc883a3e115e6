"""What the agent of a session needs from its runner: a runtime folder, a socket, and the way to the control plane."""
