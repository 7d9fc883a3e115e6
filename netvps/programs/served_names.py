"""Under which names and addresses a server is reached: its TLS certificate has them, and it tells clients."""

from __future__ import annotations

import ipaddress
import socket
from typing import TYPE_CHECKING, Final

from netvps.adapters.netlink.own_addresses import own_addresses
from netvps.settings import is_host_name

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST: Final = 100
"""A machine of many containers has more addresses than a certificate should hold."""


def served_names(public: Sequence[str], listen: str) -> tuple[str, ...]:
    """Those that the operator gave, then what follows from the address that is listened on. Blocking, briefly."""
    address = ipaddress.ip_address(listen)
    found = [*public, *(own_addresses() if address.is_unspecified else [str(address)])]
    if not address.is_loopback and is_host_name(name := socket.gethostname().lower()):
        found.append(name)
    return tuple(dict.fromkeys(found))[:_MOST]
