"""The kernel's network state, over netlink: pyroute2 for the few links and addresses, packed messages for entries."""
