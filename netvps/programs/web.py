"""`netvps web`: the terminal UI in browsers, for the server of a context.

It is a client as any other: it has an address and its people's own credentials, and no rights of its own beyond those
of whoever started it. Processes that show the terminal UI are those of the SSH gateway (programs/terminal_ui.py).
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog

from netvps import log as logging
from netvps.cli.machine import programs
from netvps.cli.machine.program_command import parse
from netvps.cli.server.contexts import LOCAL, resolve
from netvps.client import AsyncClient, Endpoint
from netvps.config import paths
from netvps.errors import ConfigError, NetvpsError, Unavailable
from netvps.gateway.ssh.listener import listen_at
from netvps.gateway.tui.apps import TerminalApps
from netvps.gateway.web.link_socket import LinkSocket, ask_for_link
from netvps.gateway.web.logins import LOGIN_SECONDS, Logins
from netvps.gateway.web.server import WebServer
from netvps.gateway.web.site import listen_address, site
from netvps.process.process import allow_many_files, guarded, run_to_end
from netvps.process.stopping import Stop
from netvps.process.tls_files import TlsFiles
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence

    from netvps.cli.server.contexts import Context
    from netvps.domain.session.exec import ExecStart, FromCommand, ToCommand

log = structlog.get_logger()

NAME: Final = "web"
KEY_TITLE: Final = "netvps web"
"""Title of the API keys of one-use links where the context has no key: they end with the login, or by themselves."""
_CALL_SECONDS: Final = 10.0


class ClientAccount:
    """A person, by a client with their API key."""

    def __init__(self, client: AsyncClient, user: str, credential: str, *, made: bool = False) -> None:
        """`made`: the credential is removed at the end."""
        self.user, self.credential = user, credential
        self._client, self._made = client, made
        self._closed = False

    async def check(self) -> None:
        """Raises Unauthenticated if the credential has ended, and Unavailable."""
        try:
            if not self._closed:
                await self._client.get_user()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            # grpc cancels calls whose channel is closed: the person logged out meanwhile
        if self._closed:
            raise Unavailable("the login ended meanwhile")

    def exec(self, start: ExecStart, incoming: AsyncIterator[ToCommand]) -> AsyncGenerator[FromCommand, None]:
        """Runs a command in a session."""
        return self._client.exec(start, incoming)

    async def close(self) -> None:
        """Ends the connection, and the credential if it was made for this login. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            if self._made:
                await self._client.delete_api_key(f"me/{self.credential.split('_')[1]}")
        except NetvpsError as error:  # it has an end, too
            log.warning("the API key of a web login was not removed; it expires within a day", error=error.message)
        finally:
            await self._client.close()


class ContextAccounts:
    """The people of a context's server."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def of_key(self, api_key: str) -> ClientAccount:
        """Logs in with an API key. Raises Unauthenticated, Unavailable."""
        return await self._enter(api_key)

    async def own(self) -> ClientAccount:
        """Logs in with the context's API key, or with a new one where the context is a local socket."""
        if self._context.api_key:
            return await self._enter(self._context.api_key)
        async with AsyncClient(self._endpoint(None), timeout=_CALL_SECONDS) as client:
            key = await client.create_api_key(title=KEY_TITLE, ttl=LOGIN_SECONDS)
        return await self._enter(key, made=True)

    async def _enter(self, api_key: str, *, made: bool = False) -> ClientAccount:
        client = AsyncClient(self._endpoint(api_key), timeout=_CALL_SECONDS)
        try:
            user = await client.get_user()
        except BaseException:
            await client.close()
            raise
        return ClientAccount(client, user.name, api_key, made=made)

    def _endpoint(self, api_key: str | None) -> Endpoint:
        return Endpoint(self._context.address, self._context.ca_certificate, api_key)


async def run(context: Context, given: Mapping[str, Any]) -> None:
    """Serves until a signal. Raises NetvpsError."""
    host, port = listen_address(given["listen"])
    folders = paths()
    folders.prepare()
    link_socket = folders.web_socket(port)
    if given["open_link"] and (link := await ask_for_link(link_socket)):
        _print(link)
        return
    tls = _tls(given["tls_cert"], given["tls_key"])
    where = site(host, port, tls=tls is not None, public_url=given["public_url"], proxies=given["trusted_proxy"])
    sock = listen_at(host, port, "netvps web cannot listen on", "--listen")
    logins = Logins(ContextAccounts(context), time.monotonic)
    title = "" if context.name == LOCAL else context.name
    apps = TerminalApps(context.address, warm_after=0, ca_certificate=context.ca_certificate or "", title=title)
    name = title or socket.gethostname()
    async with (
        apps,
        WebServer(where, logins, apps, sock=sock, tls=tls.context if tls else None, server_name=name) as server,
        LinkSocket(link_socket, server.link),
        Tasks() as tasks,
    ):
        if tls is not None:
            tasks.start(tls.follow(), name="certificate files")
        with Stop() as stop:
            log.info("netvps web serves", url=where.url, server=context.address)
            if given["open_link"]:
                _print(server.link())
            await stop.asked.wait()


def _print(link: str) -> None:
    print(link, flush=True)  # noqa: T201 — data


def _tls(certificate: str | None, key: str | None) -> TlsFiles | None:
    """The files of a certificate, None without. Raises ConfigError."""
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise ConfigError("--tls-cert and --tls-key: give both, or none")
    return TlsFiles(Path(certificate), Path(key))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code."""
    given = parse(programs.web, sys.argv[1:] if argv is None else argv)

    def work() -> int:
        logging.set_up(NAME)
        allow_many_files()
        run_to_end(run(resolve(given["context"]), given))
        return 0

    return guarded(NAME, work)


if __name__ == "__main__":
    sys.exit(main())
