"""Reads the generation of nftables in this network namespace: the kernel increments it with each transaction."""

from __future__ import annotations

import socket
from typing import Final

from netvps.adapters.netlink.wire import attributes, message, messages

_NETLINK_NETFILTER: Final = 12
_GET_GENERATION: Final = 10 << 8 | 16
"""NFT_MSG_GETGEN of the nftables subsystem (linux/netfilter/nf_tables.h)."""
_ID: Final = 1
_HEAD: Final = bytes(4)
"""struct nfgenmsg: family, version, resource id; all unspecified."""
_SECONDS: Final = 5.0
_RECEIVE: Final = 4096


def generation() -> int | None:
    """Returns the generation; None if the kernel does not answer."""
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_NETFILTER) as asked:
            asked.settimeout(_SECONDS)
            asked.send(message(_GET_GENERATION, 0, _HEAD))
            for *_, body in messages(asked.recv(_RECEIVE)):
                if found := attributes(body, len(_HEAD)).get(_ID):
                    return int.from_bytes(found)
    except OSError:
        return None
    return None
