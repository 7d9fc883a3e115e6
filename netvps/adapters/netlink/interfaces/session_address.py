"""Gives a session, in its network namespace, the address that it moved with instead of the engine's."""

from __future__ import annotations

import errno
import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Final

from pyroute2.netns import setns

from netvps.adapters.netlink.bulk import BulkSocket
from netvps.adapters.netlink.wire import CREATE, REPLACE, attribute, attributes, message
from netvps.domain.overlay.settings import session_mac
from netvps.errors import NetvpsError

_NEW_LINK, _GET_LINK, _NEW_ADDRESS, _DELETE_ADDRESS, _NEW_ROUTE = 16, 18, 20, 21, 24
_LINK: Final = struct.Struct("=BxHiII")
"""struct ifinfomsg: family, type, index, flags, mask of flags to change."""
_ADDRESS: Final = struct.Struct("=BBBBI")
"""struct ifaddrmsg: family, prefix length, flags, scope, interface."""
_ROUTE: Final = struct.Struct("=BBBBBBBBI")
"""struct rtmsg: family, destination and source prefix lengths, TOS, table, protocol, scope, type, flags."""
_IFLA_ADDRESS, _IFA_ADDRESS, _IFA_LOCAL, _RTA_OIF, _RTA_GATEWAY, _RTA_SOURCE = 1, 1, 2, 4, 5, 7
_MAIN_TABLE, _STATIC, _UNICAST, _ON_LINK = 254, 4, 1, 4
_HOST_PREFIX: Final = 32
_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class SessionAddress:
    """The address of a session outside its runner's subnet."""

    address: str
    local_address: str
    """The one that the engine gave, which goes."""
    gateway: str
    """The bridge of its runner."""


def assume(namespace: int, wanted: SessionAddress) -> str:
    """Makes `wanted` the only address in a network namespace (a descriptor), with the MAC that belongs to it.

    Idempotent. Returns why it failed, or ''. Blocks. Works in a thread of its own, as only a thread's namespace can be
    changed, and a thread of a pool would stay there.
    """
    failures: list[str] = []

    def work() -> None:
        try:
            setns(namespace)
            with BulkSocket() as opened:
                failures.extend(_assume(opened, wanted))
        except OSError as error:
            failures.append(f"{error.strerror}; run the runner as root, or with CAP_SYS_ADMIN")
        except NetvpsError as error:
            failures.append(error.message)

    worker = threading.Thread(target=work, name="session address", daemon=True)
    worker.start()
    worker.join(_SECONDS)
    if worker.is_alive():
        failures.append("the kernel does not answer; check the machine's load")
    return f"cannot give a session its address {wanted.address}: {failures[0]}" if failures else ""


def _assume(opened: BulkSocket, wanted: SessionAddress) -> list[str]:
    """Adds before it removes: a link that loses its last address loses its routes."""
    macs = {bytes.fromhex(session_mac(one).replace(":", "")) for one in (wanted.address, wanted.local_address)}
    index, mac = _link(opened, lambda found: found in macs)
    if not index:
        return ["it has no interface on the overlay; start it again"]
    own = bytes.fromhex(session_mac(wanted.address).replace(":", ""))
    new, old, gateway = (IPv4Address(one).packed for one in (wanted.address, wanted.local_address, wanted.gateway))
    link = struct.pack("=I", index)
    requests = [
        message(
            _NEW_ADDRESS,
            CREATE | REPLACE,
            _ADDRESS.pack(socket.AF_INET, _HOST_PREFIX, 0, 0, index)
            + attribute(_IFA_LOCAL, new)
            + attribute(_IFA_ADDRESS, new),
        ),
        message(
            _NEW_ROUTE,
            CREATE | REPLACE,
            _ROUTE.pack(socket.AF_INET, 0, 0, 0, _MAIN_TABLE, _STATIC, 0, _UNICAST, _ON_LINK)
            + attribute(_RTA_GATEWAY, gateway)
            + attribute(_RTA_OIF, link)
            + attribute(_RTA_SOURCE, new),
        ),
        message(_DELETE_ADDRESS, 0, _ADDRESS.pack(socket.AF_INET, 0, 0, 0, index) + attribute(_IFA_LOCAL, old)),
    ]
    if mac != own:  # an engine that derives it from the address that it gave
        requests.append(message(_NEW_LINK, 0, _LINK.pack(0, 0, index, 0, 0) + attribute(_IFLA_ADDRESS, own)))
    refusals = [one for one in opened.request(requests) if one and one.errno not in {errno.EEXIST, errno.EADDRNOTAVAIL}]
    return [str(one) for one in refusals]


def _link(opened: BulkSocket, matches: Callable[[bytes], bool]) -> tuple[int, bytes]:
    """Index and MAC of the interface with such a MAC; 0 if there is none."""
    for _, body in opened.dump(message(_GET_LINK, 0, _LINK.pack(0, 0, 0, 0, 0))):
        mac = attributes(body, _LINK.size).get(_IFLA_ADDRESS, b"")
        if matches(mac):
            return _LINK.unpack_from(body)[2], mac
    return 0, b""
