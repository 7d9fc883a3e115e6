"""The process of the HTTP gateway: URLs of sessions. It holds connections, and asks the server that started it.

It ends when the server does, as the process of the SSH gateway does. It reads no settings and imports neither gRPC nor
the store.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog

from netvps import log as logging
from netvps.domain.http.site import Site
from netvps.gateway.http.challenges import Challenges
from netvps.gateway.http.requests import Requests
from netvps.gateway.http.server import HttpServer
from netvps.gateway.worker.client import ControlPlane
from netvps.process.process import allow_many_files, beating, die_with, guarded, run_to_end
from netvps.process.readiness import Readiness
from netvps.process.stopping import Stop
from netvps.process.tls_files import TlsFiles
from netvps.tasks import Tasks
from netvps.timing import observe_durations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

log = structlog.get_logger()

NAME: Final = "http"


async def run(
    control: Path,
    serve: Callable[[ControlPlane], HttpServer],
    drain: float,
    readiness: Readiness,
    tls: TlsFiles | None = None,
) -> None:
    """Serves until a signal, then drains; ends at a second signal, or when the server is gone. Raises NetvpsError."""
    async with ControlPlane(control) as plane:
        server = serve(plane)
        async with server, Tasks() as tasks:
            with observe_durations(plane.observe_duration), Stop() as stop:
                if tls is not None:
                    tasks.start(tls.follow(), name="certificate files")
                tasks.start(plane.report_http(lambda: server.connections), name="counts")
                lost = tasks.start(plane.lost.wait(), name="server")
                asked = tasks.start(stop.asked.wait(), name="signal")
                readiness.ready()
                await asyncio.wait((lost, asked), return_when=asyncio.FIRST_COMPLETED)
                if asked.done():
                    draining = tasks.start(stop.drain(server.stop(drain), drain + 5), name="drain")
                    await asyncio.wait((lost, draining), return_when=asyncio.FIRST_COMPLETED)
                else:
                    log.warning("the server is gone: stopping the http gateway")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the gateway; returns its exit code."""
    parser = argparse.ArgumentParser(prog=f"netvps {NAME}", description=__doc__, allow_abbrev=False)
    parser.add_argument("--control", type=Path, required=True, help="the server's socket for gateway processes")
    parser.add_argument("--listen-fd", type=int, required=True, help="an inherited listening socket")
    parser.add_argument("--url", required=True, help="the URL of the domain, as browsers see it")
    parser.add_argument("--account", required=True, help="the owner of sessions that a host names without OWNER")
    parser.add_argument("--proxy", action="append", default=[], help="a proxy whose X-Forwarded headers are passed on")
    parser.add_argument("--tls-cert", type=Path, help="a certificate chain; it is read again when it changes")
    parser.add_argument("--tls-key", type=Path, help="its key")
    parser.add_argument("--acme-dir", type=Path, help="a folder of certbot's")
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
        site, proxies = Site.parse(given.url, given.account), frozenset(given.proxy)

        tls = TlsFiles(given.tls_cert, given.tls_key, "--apps-tls-cert and --apps-tls-key") if given.tls_cert else None
        challenges = Challenges(given.acme_dir) if given.acme_dir else None

        def serve(plane: ControlPlane) -> HttpServer:
            requests = partial(Requests, plane, plane, site, proxies=proxies, challenges=challenges)
            return HttpServer(requests, sock=listening, tls=tls.context if tls else None, proxies=proxies)

        run_to_end(beating(run(given.control, serve, given.drain, readiness, tls), readiness))
        return 0

    return guarded(NAME, work, readiness.failed)


if __name__ == "__main__":
    sys.exit(main())
