"""The process of the SSH gateway: it holds SSH connections, and sends all other requests to the server that started it.

It ends when the server does, in any case: the kernel kills it with its parent, and without the server's socket it has
nothing to do. It reads no settings and imports neither gRPC nor the store.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from netvps import log as logging
from netvps.errors import ConfigError
from netvps.gateway.relay.relay import Relay
from netvps.gateway.ssh.agent_login import AgentLogin
from netvps.gateway.ssh.gateway import ConnectionLimits, SshGateway
from netvps.gateway.ssh.proxy_header import Balancers
from netvps.gateway.tui.apps import TerminalApps
from netvps.gateway.tunnel.dialer import Dialer
from netvps.gateway.worker.client import ControlPlane
from netvps.process.agent_program import agent_program
from netvps.process.process import allow_many_files, beating, die_with, guarded, run_to_end
from netvps.process.readiness import Readiness
from netvps.process.stopping import Stop
from netvps.tasks import Tasks
from netvps.timing import observe_durations

if TYPE_CHECKING:
    from collections.abc import Sequence

log = structlog.get_logger()

NAME: Final = "gateway"


async def run(control: Path, listening: socket.socket, drain: float, readiness: Readiness) -> None:
    """Serves until a signal, then drains; ends at a second signal, or when the server is gone. Raises NetvpsError."""
    async with ControlPlane(control) as plane, Dialer(plane, plane.locate) as dialer, Relay(_agent()) as relay:
        welcome = plane.welcome
        apps = TerminalApps(f"unix:{welcome.api_socket}") if welcome.api_socket else None
        gateway = SshGateway(
            plane,
            dialer,
            AgentLogin(plane, welcome.host_ca),
            sock=listening,
            host_key=welcome.host_key,
            user_ca=welcome.user_ca,
            limits=ConnectionLimits(welcome.connections_per_user, welcome.connections_per_session),
            balancers=Balancers.of(welcome.balancers),
            ui_apps=apps,
            ui_tokens=plane,
            audit=plane.audit,
            relay=relay,
            browser=plane,
            tickets=plane,
        )
        async with apps or nullcontext(), gateway, Tasks() as tasks:
            with observe_durations(plane.observe_duration), Stop() as stop:
                tasks.start(plane.report(lambda: (gateway.connections, gateway.unauthenticated)), name="counts")
                lost = tasks.start(plane.lost.wait(), name="server")
                asked = tasks.start(stop.asked.wait(), name="signal")
                readiness.ready()
                await asyncio.wait((lost, asked), return_when=asyncio.FIRST_COMPLETED)
                if asked.done():
                    draining = tasks.start(stop.drain(gateway.stop(drain), drain + 5), name="drain")
                    await asyncio.wait((lost, draining), return_when=asyncio.FIRST_COMPLETED)
                else:
                    log.warning("the server is gone: stopping the gateway")


def _agent() -> Path | None:
    """The agent's binary, which has the relay; None if there is none for this machine."""
    try:
        return agent_program()
    except ConfigError as error:
        log.warning("SSH is slower than it could be: there is no relay", error=error.message)
        return None


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the gateway; returns its exit code."""
    parser = argparse.ArgumentParser(prog=f"netvps {NAME}", description=__doc__, allow_abbrev=False)
    parser.add_argument("--control", type=Path, required=True, help="the server's socket for gateway processes")
    parser.add_argument("--listen-fd", type=int, required=True, help="an inherited listening socket")
    parser.add_argument("--drain", type=float, required=True, help="seconds that connections get to end on shutdown")
    parser.add_argument("--ready-fd", type=int)
    parser.add_argument("--parent", type=int)
    parser.add_argument("--beat-every", type=float)
    given = parser.parse_args(argv)
    readiness = Readiness(given.ready_fd, given.beat_every)

    def work() -> int:
        die_with(given.parent, signal.SIGKILL)
        logging.set_up(NAME)
        allow_many_files()
        listening = socket.socket(fileno=given.listen_fd)
        run_to_end(beating(run(given.control, listening, given.drain, readiness), readiness))
        return 0

    return guarded(NAME, work, readiness.failed)


if __name__ == "__main__":
    sys.exit(main())
