"""Messages about interfaces for which pyroute2 is too slow, or has no option (linux/if_link.h, linux/if_bridge.h)."""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from netvps.adapters.netlink.bulk import BulkSocket
from netvps.adapters.netlink.wire import attribute, attributes, message

_NEW_LINK, _GET_LINK = 16, 18
_HEAD: Final = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, type, index, flags, mask of flags to change."""
_IFNAME, _MASTER = 3, 10
_UP: Final = 1
_LINK_INFO, _KIND, _DATA, _BOOLEANS = 18, 1, 2, 46
_NO_LINK_LOCAL_LEARNING: Final = 1
_OPTIONS: Final = struct.Struct("=II")
"""struct br_boolopt_multi: values, mask of values to change."""


@dataclass(frozen=True, slots=True)
class Link:
    """An interface."""

    index: int
    name: str
    master: int
    """Interface index of the bridge it is a port of; 0 if of none."""
    up: bool


def all_links() -> Iterator[Link]:
    """Lists the interfaces of this network namespace, with one dump. Raises Unavailable.

    A machine of a thousand sessions has as many interfaces, and pyroute2 takes long per object.
    """
    with BulkSocket() as opened:
        found = opened.dump(message(_GET_LINK, 0, _HEAD.pack(0, 0, 0, 0, 0)))
    for _, body in found:
        _, _, index, flags, _ = _HEAD.unpack_from(body)
        found_attributes = attributes(body, _HEAD.size)
        name = found_attributes.get(_IFNAME, b"").rstrip(b"\0").decode(errors="replace")
        yield Link(index, name, int.from_bytes(found_attributes.get(_MASTER, b""), sys.byteorder), bool(flags & _UP))


def no_link_local_learning(index: int) -> bytes:
    """Builds a request that stops a bridge from learning MACs from link-local frames, which no packet filter hook sees.

    Otherwise one LLDP frame with a forged source MAC would redirect another session's frames
    (adapters/filter/rules/bridge.py). `no_linklocal_learn` of ip-link(8), BR_BOOLOPT_NO_LL_LEARN: pyroute2 0.9 lacks
    it.
    """
    options = attribute(_BOOLEANS, _OPTIONS.pack(_NO_LINK_LOCAL_LEARNING, _NO_LINK_LOCAL_LEARNING))
    info = attribute(_KIND, b"bridge\0") + attribute(_DATA, options)
    return message(_NEW_LINK, 0, _HEAD.pack(0, 0, index, 0, 0) + attribute(_LINK_INFO, info))
