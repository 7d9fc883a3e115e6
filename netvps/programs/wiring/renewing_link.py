"""A runner's link that renews its certificate in time, and reports when it is connected or refused."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

import structlog

from netvps.adapters.ca.client_key import new_key, signing_request, validity
from netvps.domain.access.identity import AgentCredential
from netvps.domain.runner.runner import Welcome
from netvps.errors import ConfigError, NetvpsError, NotFound, Unauthenticated, Unavailable
from netvps.programs.wiring.identity import Identity, save_identity
from netvps.rpc.client.link_client import RunnerLink, boot_agent
from netvps.rpc.client.streams import closing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable
    from datetime import datetime
    from pathlib import Path

    from netvps.domain.image.copies import ImageRequest
    from netvps.domain.image.login import Credential
    from netvps.domain.runner.runner import RunnerHello
    from netvps.domain.session.exec import Stderr
    from netvps.domain.snapshot.copies import CopyRequest
    from netvps.runner.ports import FilesServer, FromRunner, ToRunner

_LOOK_EVERY: Final = timedelta(hours=1)
log = structlog.get_logger()


def not_good_now(identity: Identity) -> str:
    """What to do about a certificate that has expired or is not valid yet."""
    begin, end = validity(identity.certificate)
    return (
        f"the certificate of runner {identity.name} is valid from {begin:%Y-%m-%d} to {end:%Y-%m-%d} only: check this"
        " machine's clock; if it is right, run 'netvps runner join-token' on the server, and start the runner with"
        " --join-token-file FILE: it remains the same runner, with its sessions"
    )


class IdentityRefused(Exception):
    """The control plane does not know this runner. Not a NetvpsError, because retries are useless."""


class RenewingLink:
    """Implements runner.ports.Link with consecutive RunnerLinks. An async context manager."""

    def __init__(self, identity: Identity, state: Path, connected: Callable[[], None]) -> None:
        """Stores renewed identities in the folder `state`; calls `connected` at each Welcome."""
        self._identity = identity
        self._state = state
        self._connected = connected
        self._stack = AsyncExitStack()
        self._dropped: set[RunnerLink] = set()
        self.is_connected = False
        """Whether the server has welcomed this runner on the present stream."""

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        self._link = await self._open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def connect(self, hello: RunnerHello, outgoing: AsyncIterator[FromRunner]) -> AsyncGenerator[ToRunner, None]:
        """As in the Protocol. Raises IdentityRefused if the runner was removed."""
        link = self._link
        try:
            stream = link.connect(hello, outgoing)
            async with closing(stream):
                async for message in stream:
                    if isinstance(message, Welcome):
                        self.is_connected = True
                        self._connected()
                    yield message
        except (NotFound, Unauthenticated) as error:
            raise IdentityRefused(str(error)) from error
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if link in self._dropped and task and not task.cancelling():  # by gRPC, not by the owner of the task
                raise Unavailable("connecting again: this machine's address changed") from None
            raise
        finally:
            self.is_connected = False
            self._dropped.discard(link)

    async def reopen(self) -> None:
        """As in the Protocol."""
        old, self._link = self._link, await self._open()
        self._dropped.add(old)
        await old.__aexit__()

    async def agent_credential(self, session_uid: str, epoch: int) -> AgentCredential:
        """As in the Protocol: requested by the runner, so that a session needs no access to the API (ADR 0020)."""
        token, ca_certificate = await self._link.boot_token(session_uid, epoch)
        key = new_key()
        certificate = await boot_agent(self._identity.server, ca_certificate, token, signing_request(key))
        begin, end = validity(certificate)
        return AgentCredential(key, certificate, ca_certificate, renew_time=end - (end - begin) / 3)

    async def registry_login(self, host: str) -> Credential | None:
        """The login with which to pull from a registry; None if there is none."""
        return await self._link.registry_login(host)

    async def send_logs(self, stream_id: str, pieces: AsyncIterator[bytes | Stderr]) -> None:
        """As in the Protocol."""
        await self._link.send_logs(stream_id, pieces)

    async def carry_files(self, stream_id: str, work: FilesServer) -> None:
        """As in the Protocol."""
        await self._link.carry_files(stream_id, work)

    async def read_copy(self, request: CopyRequest, source: str) -> AsyncGenerator[tuple[str, bytes], None]:
        """As in the Protocol."""
        async with closing(self._link.read_copy(request, source)) as answers:
            async for answer in answers:
                yield answer

    async def read_image(self, request: ImageRequest, source: str) -> AsyncGenerator[tuple[str, bytes], None]:
        """As in the Protocol."""
        async with closing(self._link.read_image(request, source)) as answers:
            async for answer in answers:
                yield answer

    async def send_copy(self, stream_id: str, pieces: AsyncIterator[bytes]) -> None:
        """As in the Protocol."""
        await self._link.send_copy(stream_id, pieces)

    async def keep_renewing(self, clock: Callable[[], datetime]) -> None:
        """Renews when a third of the certificate's lifetime is left, and retries, until cancelled.

        Raises ConfigError once the certificate has expired.
        """
        while True:
            if not self._identity.good(clock()):
                raise ConfigError(not_good_now(self._identity))
            if clock() >= self._identity.renew_at:
                await self._renew()
            await asyncio.sleep(_LOOK_EVERY.total_seconds())

    async def _renew(self) -> None:
        try:
            certificate = await self._link.renew(signing_request(self._identity.key))
        except NetvpsError as error:
            log.warning("cannot renew the certificate; retrying", ends=str(self._identity.end), error=error.message)
            return
        self._identity = self._identity.renewed(certificate)
        try:
            await asyncio.to_thread(save_identity, self._state, self._identity)
        except OSError as error:  # the old one is still valid, and this process uses the new one
            log.warning("cannot store the renewed certificate: free disk space", error=error.strerror)
        # The open stream stays on the old connection, which is still authenticated; the next stream uses the new one.
        self._link = await self._open()
        log.info("certificate renewed", ends=str(self._identity.end))

    async def _open(self) -> RunnerLink:
        identity = self._identity
        link = RunnerLink(identity.link, identity.ca_certificate, identity.certificate, identity.key)
        return await self._stack.enter_async_context(link)
