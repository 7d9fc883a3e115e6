"""netvps: VPS-like containers for everybody, on your own machines."""

__version__ = "0.1.0"
