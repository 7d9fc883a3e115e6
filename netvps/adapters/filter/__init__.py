"""The packet filter of a runner: nftables decides; iptables and firewalld are made to accept what it accepted."""
