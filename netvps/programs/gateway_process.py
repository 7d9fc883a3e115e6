"""Runs the SSH gateway as a process of its own, so that no client's bytes delay the API, heartbeats and tunnels.

The listening socket is this process', and the gateway inherits it: an address that is taken is told at the start, and
while a gateway that died is started again, connections wait in the kernel instead of being refused.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Self

from netvps.gateway.ssh_listener import listen_at
from netvps.programs.supervisor import Child
from netvps.tasks import Tasks

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from netvps.gateway.worker_socket import WorkerSocket

_PAUSES: Final = (0.1, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds before each restart: the first is quick, for all SSH waits for it."""
_MARGIN: Final = 10.0
"""Seconds on top of what connections get to end by themselves."""
_LAST_WORDS: Final = 4.0
"""Seconds in which it tells its clients why they are cut, where there was no time for more."""
_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "HOME", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "NETVPS_ENV")
"""Of the environment: what else there is may be a secret of the server's."""


class GatewayProcess:
    """An async context manager. Its end is hard: call `stop` before, to be kind."""

    def __init__(self, sock: socket.socket, control: Path, worker: WorkerSocket, drain: float) -> None:
        """`worker` listens at `control`; `drain` is in seconds. Closes the socket at the end."""
        self._sock = sock
        self._worker = worker
        environ = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        arguments = ["--control", str(control), "--listen-fd", str(sock.fileno()), "--drain", str(drain)]
        self._child = Child("gateway", arguments, environ, drain + _MARGIN, pass_fds=(sock.fileno(),), pauses=_PAUSES)
        self._tasks = Tasks()

    @classmethod
    def at(cls, host: str, port: int, control: Path, worker: WorkerSocket, drain: float) -> Self:
        """Listens at an IP address. Raises ConfigError."""
        return cls(listen_at(host, port), control, worker, drain)

    async def __aenter__(self) -> Self:
        """Returns once it serves. Raises the error that it ended with."""
        try:
            await self._child.start()
        except BaseException:
            self._sock.close()
            raise
        self._tasks.start(self._child.keep(), name="ssh gateway")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._forsake()
        self._worker.dismiss()
        await self._child.end_within(_LAST_WORDS)

    @property
    def connections(self) -> int:
        """How many SSH connections are logged in."""
        return self._worker.connections

    @property
    def unauthenticated(self) -> int:
        """How many SSH connections are not."""
        return self._worker.unauthenticated

    async def stop(self) -> None:
        """Accepts no more connections, gives those that are open their `drain`, and ends them with a reason."""
        await self._forsake()
        await self._child.stop()

    async def _forsake(self) -> None:
        """Starts it no more, and listens no more."""
        self._sock.close()
        await self._tasks.cancel()
