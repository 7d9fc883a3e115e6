"""Attaches programs to interfaces of this network namespace, as tc classifiers (tc-bpf(8)), over rtnetlink."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from netvps.adapters.bpf.syscall import Program
from netvps.adapters.netlink.bulk import BulkSocket
from netvps.adapters.netlink.wire import CREATE, NESTED, attribute, attributes, message
from netvps.errors import Unavailable

_NEW_QDISC, _GET_QDISC = 36, 38
_NEW_FILTER, _DELETE_FILTER, _GET_FILTER = 44, 45, 46
_HEAD: Final = struct.Struct("=BxxxiIII")
"""struct tcmsg: family, interface index, handle, parent; filters use the last field for priority and protocol."""
_CLSACT: Final = (0xFFFF0000, 0xFFFFFFF1, 0)
"""The clsact qdisc, which queues nothing: handle, parent."""
_INGRESS: Final = 0xFFFFFFF2
_PRIORITY_AND_PROTOCOL: Final = 1 << 16 | socket.htons(0x0003)
"""Priority 1 (evaluated first), ETH_P_ALL."""
_OURS: Final = (1, _INGRESS, _PRIORITY_AND_PROTOCOL)
_KIND, _OPTIONS = 1, 2
_FD, _NAME, _FLAGS, _ID = 6, 7, 8, 11
_DIRECT_ACTION: Final = struct.pack("=I", 1)
_GONE: Final = {errno.ENODEV, errno.ENOENT, errno.EINVAL}


@dataclass(frozen=True, slots=True)
class Classifier:
    """A program attached to an interface."""

    link: int
    """Interface index."""
    name: str
    program: int
    """Program id."""


def attach(programs: Mapping[int, tuple[str, Program]]) -> set[int]:
    """Attaches named programs by interface index, replacing our earlier ones; returns the indexes that have one now.

    Interfaces that no longer exist are skipped. Raises Unavailable if the kernel refuses any other.
    """
    if not programs:
        return set()
    with BulkSocket() as kernel:
        made = [_request(_NEW_QDISC, CREATE, link, _CLSACT, _kind("clsact")) for link in programs]
        kernel.request(made)  # fails where clsact exists; other causes make the next request fail, too
        asked = [
            _request(_NEW_FILTER, CREATE, link, _OURS, _kind("bpf") + _options(name, program))
            for link, (name, program) in programs.items()
        ]
        refused = dict(zip(programs, kernel.request(asked), strict=True))
    for why in refused.values():
        if why and why.errno != errno.ENODEV:
            raise Unavailable(
                f"cannot attach a BPF program to an interface: {why}; use a kernel with CONFIG_NET_CLS_BPF, "
                "or set --overlay-fast-path off"
            )
    return {link for link, why in refused.items() if not why}


def detach(links: Iterable[int]) -> None:
    """Detaches our programs from interfaces; missing ones are skipped. Raises Unavailable.

    The clsact qdisc stays until the interface is deleted: removing it stops the interface briefly and drops packets.
    """
    with BulkSocket() as kernel:
        asked = [_request(_DELETE_FILTER, 0, link, _OURS, _kind("bpf")) for link in links]
        for why in kernel.request(asked):
            if why and why.errno not in _GONE:
                raise Unavailable(f"cannot detach a BPF program from an interface: {why}; the next attempt repeats it")


def attached(prefix: str) -> list[Classifier]:
    """Lists the programs whose names start with `prefix`, on any interface."""
    with BulkSocket() as kernel:
        links = [link for link, kind in _disciplines(kernel) if kind == "clsact"]
        found = [each for link in links for each in _programs(kernel, link)]
    return [each for each in found if each.name.startswith(prefix)]


def _disciplines(kernel: BulkSocket) -> Iterator[tuple[int, str]]:
    for _, body in kernel.dump(message(_GET_QDISC, 0, _HEAD.pack(0, 0, 0, 0, 0))):
        yield _HEAD.unpack_from(body)[1], _text(attributes(body, _HEAD.size).get(_KIND, b""))


def _programs(kernel: BulkSocket, link: int) -> Iterator[Classifier]:
    for _, body in kernel.dump(message(_GET_FILTER, 0, _HEAD.pack(0, link, 0, _INGRESS, 0))):
        options = attributes(attributes(body, _HEAD.size).get(_OPTIONS, b""), 0)
        if _ID in options:
            (number,) = struct.unpack("=I", options[_ID])
            yield Classifier(link, _text(options.get(_NAME, b"")), number)


def _request(kind: int, flags: int, link: int, where: tuple[int, int, int], rest: bytes) -> bytes:
    return message(kind, flags, _HEAD.pack(0, link, *where) + rest)


def _options(name: str, program: Program) -> bytes:
    head = attribute(_FD, struct.pack("=I", program.descriptor)) + attribute(_NAME, name.encode() + b"\0")
    return attribute(_OPTIONS | NESTED, head + attribute(_FLAGS, _DIRECT_ACTION))


def _kind(name: str) -> bytes:
    return attribute(_KIND, name.encode() + b"\0")


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
