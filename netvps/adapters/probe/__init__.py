"""Packets that measure the overlay's links: echoes of ICMP that may not be fragmented, and real TCP."""
