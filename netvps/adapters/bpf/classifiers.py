"""Which programs see what comes in by which links of our namespace: tc's classifiers (tc-bpf(8)), by netlink."""

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
"""struct tcmsg: family, index of the link, handle, parent, and for filters priority and protocol."""
_CLSACT: Final = (0xFFFF0000, 0xFFFFFFF1, 0)
"""The queueing discipline that queues nothing: handle, parent."""
_INGRESS: Final = 0xFFFFFFF2
_PRIORITY_AND_PROTOCOL: Final = 1 << 16 | socket.htons(0x0003)
"""The first that is asked, of all packets."""
_OURS: Final = (1, _INGRESS, _PRIORITY_AND_PROTOCOL)
_KIND, _OPTIONS = 1, 2
_FD, _NAME, _FLAGS, _ID = 6, 7, 8, 11
_DIRECT_ACTION: Final = struct.pack("=I", 1)
_GONE: Final = {errno.ENODEV, errno.ENOENT, errno.EINVAL}


@dataclass(frozen=True, slots=True)
class Classifier:
    """A program at a link."""

    link: int
    """Index."""
    name: str
    program: int
    """Id."""


def attach(programs: Mapping[int, tuple[str, Program]]) -> set[int]:
    """Puts named programs at links, by index, in place of what was there of ours; those of links that are there.

    Raises Unavailable if the kernel refuses another.
    """
    if not programs:
        return set()
    with BulkSocket() as kernel:
        made = [_request(_NEW_QDISC, CREATE, link, _CLSACT, _kind("clsact")) for link in programs]
        kernel.request(made)  # the next says what went wrong, and this one is refused where it is there
        asked = [
            _request(_NEW_FILTER, CREATE, link, _OURS, _kind("bpf") + _options(name, program))
            for link, (name, program) in programs.items()
        ]
        refused = dict(zip(programs, kernel.request(asked), strict=True))
    for why in refused.values():
        if why and why.errno != errno.ENODEV:
            raise Unavailable(f"the kernel puts no program at a link: {why}; it takes CONFIG_NET_CLS_BPF")
    return {link for link, why in refused.items() if not why}


def detach(links: Iterable[int]) -> None:
    """Takes ours from links; what is gone is no error. Raises Unavailable.

    The discipline stays, and goes with the link: to take it away stops the link for a moment, and loses packets.
    """
    with BulkSocket() as kernel:
        asked = [_request(_DELETE_FILTER, 0, link, _OURS, _kind("bpf")) for link in links]
        for why in kernel.request(asked):
            if why and why.errno not in _GONE:
                raise Unavailable(f"the kernel does not take a program from a link: {why}")


def attached(prefix: str) -> list[Classifier]:
    """Those whose names begin so, at whatever link."""
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
    said = attribute(_FD, struct.pack("=I", program.descriptor)) + attribute(_NAME, name.encode() + b"\0")
    return attribute(_OPTIONS | NESTED, said + attribute(_FLAGS, _DIRECT_ACTION))


def _kind(name: str) -> bytes:
    return attribute(_KIND, name.encode() + b"\0")


def _text(value: bytes) -> str:
    return value.rstrip(b"\0").decode(errors="replace")
