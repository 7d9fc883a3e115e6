"""A connection to the SSH port that begins as one of `netvps ssh-proxy`, not as one of an SSH client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netvps.domain.proxy import GREETING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from asyncssh.connection import SSHConnection as _Base
else:
    _Base = object


class Greeted(_Base):
    """A mixin for asyncssh's server: it gives a connection away that begins with GREETING."""

    proxied: Callable[[asyncio.Transport, bytes], None] | None = None
    """Takes such a connection, and what it received; None: an SSH client sends nonsense."""
    _first: bytes | None = b""
    """What was received so far; None once it is known to be SSH."""

    def data_received(self, data: bytes, datatype: Any = None) -> None:
        """Looks at the first bytes."""
        if self._first is None or self.proxied is None:
            super().data_received(data, datatype)
            return
        self._first += data
        if len(self._first) < len(GREETING) and GREETING.startswith(self._first):
            return
        first, self._first = self._first, None
        if first.startswith(GREETING) and self._transport is not None:
            # asyncssh has sent its version, and forgets the connection: no callback follows.
            transport, self._transport, self._owner = self._transport, None, None
            self._loop.call_soon(self._cleanup, None)
            self.proxied(transport, first)
        else:
            super().data_received(first, datatype)
