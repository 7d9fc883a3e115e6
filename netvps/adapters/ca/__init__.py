"""The control plane's certificate authority: X.509 for programs, SSH for people and hosts."""

from netvps.adapters.ca.authority import Authority, ServerIdentity
from netvps.adapters.ca.opening import open_ca

__all__ = ["Authority", "ServerIdentity", "open_ca"]
