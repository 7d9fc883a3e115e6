"""Measures the overlay's links: ICMP echoes that may not be fragmented, and TCP transfers."""
