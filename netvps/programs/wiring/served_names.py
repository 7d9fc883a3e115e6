"""The names and addresses of a server, for its TLS certificate and for clients."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final

from netvps.adapters.netlink.own_addresses import own_addresses
from netvps.settings import is_host_name

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST: Final = 100
"""Limit of names in a certificate: a machine with many containers has many addresses."""


def served_names(public: Sequence[str], listen: str) -> tuple[str, ...]:
    """The configured names, then those that follow from the listening address. Blocks briefly."""
    address = ipaddress.ip_address(listen)
    found = [*public, *(own_addresses() if address.is_unspecified else [str(address)])]
    if not address.is_loopback and is_host_name(name := socket.gethostname().lower()):
        found.append(name)
    return tuple(dict.fromkeys(found))[:_MOST]
