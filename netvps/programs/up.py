"""`netvps up`: runs control plane, gateway and one runner on this machine until `netvps down`."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import structlog

from netvps.cli.machine.up import up
from netvps.errors import AlreadyExists, Unavailable
from netvps.process import clock
from netvps.process.locks import hold
from netvps.process.log_file import keep_bounded
from netvps.process.pid_file import pid_file
from netvps.process.stopping import Stop
from netvps.process.supervisor import START_SECONDS, Child, ChildDied
from netvps.programs.wiring.command_line import Program, launch
from netvps.programs.wiring.identity import load_identity
from netvps.programs.wiring.running import facts
from netvps.rpc.client.client import Client, Endpoint
from netvps.settings import RunnerSettings, ServerSettings, Settings, secrets_of
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from netvps.config import Paths
    from netvps.process.readiness import Readiness

_RUNNER_STOP: Final = 10.0
"""Seconds; the runner resumes unfinished work at its next start."""
_SERVER_MARGIN: Final = 10.0
"""Seconds beyond the drain time before the server is killed."""
_FIRST_PAUSES: Final = (0.5, 2.0)
"""Seconds before the second and third attempt of a first start."""

log = structlog.get_logger()


async def run(server: ServerSettings, runner: RunnerSettings, readiness: Readiness) -> None:
    """Runs both programs until a signal. Raises the error of the one that does not start."""
    folders = server.paths
    folders.prepare()
    control = Child("server", _arguments(server), os.environ, server.drain + _SERVER_MARGIN)
    said = facts([server, runner])
    with hold(folders.state / "up.lock", "netvps up"), pid_file(folders.state / "up.pid", said) as kept, Stop() as stop:

        def ready() -> None:
            kept.update(serving=True)
            readiness.ready()

        try:
            await stop.run(_serve(control, server, runner, ready))
        finally:
            kept.update(serving=False)
            async with Tasks() as tasks:
                tasks.start(_hurry(stop, control), name="second signal")
                await control.stop()


async def _serve(control: Child, server: ServerSettings, runner: RunnerSettings, ready: Callable[[], None]) -> None:
    """Runs both programs until cancelled; then stops the runner first, so that the server gets its last reports."""
    machine = Child("runner", [*_arguments(runner), *_to(server)], os.environ, _RUNNER_STOP)

    async def join() -> None:
        async with _join_token(server.paths) as token:
            await machine.start(*token)

    await _insist(control.start, control)
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(control.supervise(), name="server")
        log_kept = group.create_task(keep_bounded(server.paths.state / f"{UP.name}.log"), name="log file")
        try:
            await _insist(join, control)
            ready()
            log.info("netvps runs", ssh=f"{server.listen}:{server.ssh_port}", state=str(server.paths.state))
            await machine.supervise(join)
        finally:
            await machine.stop()
            keeping.cancel()
            log_kept.cancel()


async def _insist(start: Callable[[], Awaitable[None]], control: Child) -> None:
    """Starts a program for the first time; retries if it died without a message, or if the server died meanwhile.

    Raises its error otherwise, because a retry would not help and the waiting parent has to report it.
    """
    for pause in _FIRST_PAUSES:
        deaths = control.deaths
        try:
            return await start()
        except ChildDied as error:
            log.warning("a child process died while starting; restarting it", error=error.message)
        except Unavailable as error:
            if control.deaths == deaths:
                raise
            log.warning("the server died meanwhile; retrying", error=error.message)
            async with asyncio.timeout(START_SECONDS):
                await control.serving.wait()
        await asyncio.sleep(pause)
    return await start()


@asynccontextmanager
async def _join_token(folders: Paths) -> AsyncIterator[list[str]]:
    """Flags for the runner to join, if it has no valid certificate.

    The token is in a file for the duration of the block.
    """
    identity = await asyncio.to_thread(load_identity, folders.state)
    if identity is not None and identity.good(clock.now()):
        yield []
        return
    token, _ = await asyncio.to_thread(_create_join_token, folders)
    file = folders.state / "join-token"
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as output:
        output.write(token)
    try:
        yield ["--join-token-file", str(file)]
    finally:
        file.unlink(missing_ok=True)


def _create_join_token(folders: Paths) -> tuple[str, object]:
    with Client(Endpoint(f"unix:{folders.api_socket}")) as client:
        try:
            return client.create_join_token()
        except AlreadyExists:  # the server died before it answered, and a secret is shown only once
            return client.create_join_token()


async def _hurry(stop: Stop, control: Child) -> None:
    await stop.at_once.wait()
    control.hurry()


def _arguments(settings: Settings) -> list[str]:
    """The settings as flags; secrets are passed on as this process got them, by file or environment."""
    names = settings.model_fields_set - set(secrets_of(type(settings)))
    names = {name for name in names if getattr(settings, name) != ""}  # an empty variable; no flag may be empty
    return [text for name in sorted(names) for text in (f"--{name.replace('_', '-')}", str(getattr(settings, name)))]


def _to(server: ServerSettings) -> list[str]:
    """Flags by which the runner finds the server of this `netvps up`."""
    address = ipaddress.ip_address(server.listen)
    if address.is_unspecified:
        address = ipaddress.ip_address("::1" if address.version == 6 else "127.0.0.1")  # noqa: PLR2004 — IPv6
    host = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004 — IPv6
    return ["--server", f"{host}:{server.api_port}", "--link", f"{host}:{server.link_port}"]


UP = Program(up, run)

if __name__ == "__main__":
    sys.exit(launch(UP))
