"""`netvps server`: the control plane with its gateway, until a signal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import structlog

from netvps.cli.machine.programs import server
from netvps.errors import Unavailable
from netvps.process.locks import hold
from netvps.process.stopping import Stop
from netvps.programs.restore import refuse_unfinished
from netvps.programs.wiring.command_line import Program, launch
from netvps.programs.wiring.control_plane import build
from netvps.settings import ServerSettings

if TYPE_CHECKING:
    from netvps.process.readiness import Readiness

log = structlog.get_logger()


async def run(settings: ServerSettings, readiness: Readiness) -> None:
    """Serves until a signal, then drains; a second signal ends it immediately. Raises ConfigError, Unavailable."""
    folders = settings.paths
    folders.prepare()
    with hold(folders.state / "server.lock", "netvps server"), Stop() as stop:
        refuse_unfinished(folders.state)
        try:
            # Whoever waits for the start wants to know at once that there is no database.
            async with build(settings, give_up=None if readiness.awaited else stop.asked) as plane:
                readiness.ready()
                log.info("control plane serves", listen=settings.listen, api=settings.api_port, ssh=settings.ssh_port)
                await stop.asked.wait()
                await stop.drain(plane.stop(), settings.drain + 10)
        except Unavailable:
            if not stop.asked.is_set():
                raise
        log.info("control plane ended")


SERVER = Program(server, run)

if __name__ == "__main__":
    sys.exit(launch(SERVER))
