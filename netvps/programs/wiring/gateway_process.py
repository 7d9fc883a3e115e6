"""Runs a gateway as a separate process, so that its traffic does not delay the API, heartbeats and tunnels.

This process opens the listening socket, and the gateway inherits it: so an address in use is reported at the start, and
while a gateway that died is restarted, connections wait in the kernel instead of being refused.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Self

from netvps.gateway.ssh.listener import listen_at
from netvps.process.supervisor import Child
from netvps.tasks import Tasks

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
    from pathlib import Path

    from netvps.gateway.worker.server import WorkerSocket

_MARGIN: Final = 10.0
"""Seconds beyond the drain time before the process is killed."""
_LAST_WORDS: Final = 4.0
"""Seconds for sending disconnect reasons if there was no time to drain."""
_PASSED_ON: Final = ("PATH", "LANG", "LC_ALL", "HOME", "TZ", "PYTHONPATH", "VIRTUAL_ENV", "NETVPS_ENV", "NETVPS_FAULTS")
"""Environment variables passed on; all others may be secrets of the server."""


class GatewayProcess:
    """An async context manager. Its end is abrupt: call `stop` before for a graceful shutdown."""

    def __init__(
        self,
        sock: socket.socket,
        control: Path,
        worker: WorkerSocket,
        drain: float,
        *,
        program: str = "gateway",
        arguments: Sequence[str] = (),
    ) -> None:
        """`worker` listens at `control`; `drain` is in seconds. Closes the socket at the end.

        `program` is a module in netvps.programs, with arguments of its own.
        """
        self._sock = sock
        self._worker = worker
        environ = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
        common = ["--control", str(control), "--listen-fd", str(sock.fileno()), "--drain", str(drain)]
        self._name = program
        self._child = Child(program, [*common, *arguments], environ, drain + _MARGIN, pass_fds=(sock.fileno(),))
        self._tasks = Tasks()

    @classmethod
    def at(cls, host: str, port: int, control: Path, worker: WorkerSocket, drain: float) -> Self:
        """Listens on an IP address. Raises ConfigError."""
        return cls(listen_at(host, port), control, worker, drain)

    async def __aenter__(self) -> Self:
        """Returns once it serves. Raises the error that it ended with."""
        try:
            await self._child.start()
        except BaseException:
            self._sock.close()
            raise
        self._tasks.start(self._child.supervise(), name=f"supervision of {self._name}")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._forsake()
        self._worker.dismiss()
        await self._child.end_within(_LAST_WORDS)

    @property
    def connections(self) -> int:
        """Number of authenticated SSH connections."""
        return self._worker.connections

    @property
    def serving(self) -> bool:
        """Whether it is ready, as far as is known."""
        return self._child.serving.is_set()

    @property
    def unauthenticated(self) -> int:
        """Number of unauthenticated SSH connections."""
        return self._worker.unauthenticated

    async def stop(self) -> None:
        """Stops accepting, gives open connections their `drain` time, and ends them with a reason."""
        await self._forsake()
        await self._child.stop()

    async def _forsake(self) -> None:
        """Stops restarting it, and closes the listening socket."""
        self._sock.close()
        await self._tasks.cancel()
