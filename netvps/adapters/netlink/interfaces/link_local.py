"""Stops a bridge from learning MACs from link-local frames, which no packet filter hook sees.

Otherwise one LLDP frame with a forged source MAC would redirect another session's frames
(adapters/filter/rules/bridge.py).
pyroute2 0.9 lacks the option: `no_linklocal_learn` of ip-link(8), BR_BOOLOPT_NO_LL_LEARN of linux/if_bridge.h.
"""

from __future__ import annotations

import struct
from typing import Final

from netvps.adapters.netlink.wire import attribute, message

_NEW_LINK: Final = 16
_HEAD: Final = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, type, index, flags, mask of flags to change."""
_LINK_INFO, _KIND, _DATA, _BOOLEANS = 18, 1, 2, 46
_NO_LINK_LOCAL_LEARNING: Final = 1
_OPTIONS: Final = struct.Struct("=II")
"""struct br_boolopt_multi: values, mask of values to change."""


def no_link_local_learning(index: int) -> bytes:
    """Builds a request that sets the option on the bridge with this interface index."""
    options = attribute(_BOOLEANS, _OPTIONS.pack(_NO_LINK_LOCAL_LEARNING, _NO_LINK_LOCAL_LEARNING))
    info = attribute(_KIND, b"bridge\0") + attribute(_DATA, options)
    return message(_NEW_LINK, 0, _HEAD.pack(0, 0, index, 0, 0) + attribute(_LINK_INFO, info))
