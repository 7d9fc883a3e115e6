"""Subscribes to the kernel's change notifications (rtnetlink multicast groups)."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import Final

from netvps.adapters.netlink.entries import ForeignRoute, Own, decode
from netvps.adapters.netlink.wire import attributes, messages
from netvps.domain.overlay.kernel.links import ObjectNames
from netvps.domain.overlay.kernel.operations import EntryChanged, KernelEvent, LinksChanged, PortChanged

_LINKS, _NEIGHBOURS, _IPV4_ADDRESSES, _IPV4_ROUTES, _IPV6_ADDRESSES = 0x1, 0x4, 0x10, 0x40, 0x100
_GROUPS: Final = _LINKS | _NEIGHBOURS | _IPV4_ADDRESSES | _IPV4_ROUTES | _IPV6_ADDRESSES
_NEW_LINK, _DELETE_LINK, _NEW_ADDRESS, _DELETE_ADDRESS = 16, 17, 20, 21
_LINK_HEAD, _IFNAME, _MASTER = 16, 3, 10
_LINK_SCOPE, _SCOPE_AT = 253, 3
_BUFFER: Final = 8 << 20
_SO_RCVBUFFORCE: Final = 33
_RECEIVE: Final = 256 * 1024
_WAITING: Final = 20_000
"""Bound of queued events; beyond it a full resync is cheaper."""


class Events:
    """One subscription, from creation until `stream` ends.

    Reads whenever the loop is free; the socket buffers the rest.
    """

    def __init__(self, names: ObjectNames, own: Callable[[], Own]) -> None:
        """`own` returns which entries are the overlay's now."""
        self._names = frozenset({names.device.encode(), names.bridge.encode()})
        self._own = own
        self._waiting: deque[KernelEvent] = deque()
        self._ready = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._socket = self._open()

    async def stream(self) -> AsyncGenerator[KernelEvent, None]:
        """Yields events until it is closed. The first one asks for a full resync."""
        self._queue(LinksChanged("the subscription begins"))
        try:
            while True:
                while self._waiting:
                    yield self._waiting.popleft()
                self._ready.clear()
                await self._ready.wait()
        finally:
            self._close()

    def _open(self) -> socket.socket:
        opened = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        opened.setblocking(False)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        with suppress(OSError):  # past net.core.rmem_max, which needs CAP_NET_ADMIN
            opened.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        opened.bind((0, _GROUPS))
        self._loop.add_reader(opened, self._read)
        return opened

    def _close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _read(self) -> None:
        try:
            data = self._socket.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError:  # mostly ENOBUFS: what was lost is unknown, so start over with a full resync
            self._close()
            self._socket = self._open()
            self._queue(LinksChanged("notifications of the kernel were lost"))
            return
        own = self._own()
        for kind, _, _, _, body in messages(data):
            if event := self._event(kind, body, own):
                self._queue(event)

    def _event(self, kind: int, body: bytes, own: Own) -> KernelEvent | None:
        if kind in {_NEW_LINK, _DELETE_LINK}:
            return self._link(attributes(body, _LINK_HEAD), own)
        if kind in {_NEW_ADDRESS, _DELETE_ADDRESS}:
            return LinksChanged("an address of this machine changed") if body[_SCOPE_AT] != _LINK_SCOPE else None
        done = decode(kind, body, own)
        return EntryChanged(done) if done and not isinstance(done, ForeignRoute) else None

    def _link(self, found: dict[int, bytes], own: Own) -> LinksChanged | PortChanged | None:
        name = found.get(_IFNAME, b"").rstrip(b"\0")
        link = name.decode(errors="replace")
        if name in self._names:
            return LinksChanged(f"link {link} changed")
        port = _MASTER in found and found[_MASTER] == own.bridge.to_bytes(4, sys.byteorder)
        return PortChanged(link) if port else None

    def _queue(self, event: KernelEvent) -> None:
        if len(self._waiting) >= _WAITING:
            self._waiting.clear()
            event = LinksChanged("the kernel sends notifications faster than they are processed")
        self._waiting.append(event)
        self._ready.set()
