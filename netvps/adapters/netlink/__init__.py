"""The kernel's network, over netlink: pyroute2 for links and addresses, packed messages for what there are many of."""
