"""netvps: a VPS for everybody, on your own machines."""

__version__ = "0.1.0"
