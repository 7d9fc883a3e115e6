"""Images as environments: what is on this machine, and what makes, brings and removes it."""
