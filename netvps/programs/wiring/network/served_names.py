"""The names and addresses of a server, for its TLS certificate and for clients."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final

from netvps.settings import is_host_name

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST: Final = 100
"""Limit of names in a certificate: a machine with many containers has many addresses."""


def served_names(public: Sequence[str], listen: str) -> tuple[str, ...]:
    """The configured names, then those that follow from the listening address. Blocks briefly."""
    address = ipaddress.ip_address(listen)
    found = [*public]
    if address.is_unspecified:
        from netvps.adapters.netlink.own_addresses import own_addresses  # pyroute2 takes a tenth of a second to import

        found += own_addresses()
    else:
        found.append(str(address))
    if not address.is_loopback and is_host_name(name := socket.gethostname().lower()):
        found.append(name)
    return tuple(dict.fromkeys(found))[:_MOST]
