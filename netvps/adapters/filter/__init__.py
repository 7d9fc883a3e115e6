"""The packet filter of a runner: nftables decides, and iptables and firewalld are told to let pass what it passed."""
