"""Computes an agent's configuration whenever a key of its session's owner changes."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from netvps.domain.access.accounts import SshKey
from netvps.domain.access.ssh_key import PublicKey
from netvps.domain.overlay.dns import ZONE
from netvps.domain.session.session import Session
from netvps.domain.tunnel import AgentConfig
from netvps.errors import NotFound, TooOld
from netvps.services.access.ssh_certificates import principal_of
from netvps.services.feed import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from netvps.domain.names import SessionName
    from netvps.services.feed import Feed, Subscription
    from netvps.services.ports import CertificateAuthority, Change, Clock, Store

_CERTIFY_AGAIN = timedelta(days=30)
"""Host certificates are valid for 90 days, and connections of agents may last longer."""


@dataclass(frozen=True, slots=True)
class AgentConfigs:
    """Configurations of one session in one placement, for one host key (OpenSSH form)."""

    store: Store
    clock: Clock
    ca: CertificateAuthority
    feed: Feed
    session_uid: str
    epoch: int
    host_key: str

    async def follow(self) -> AsyncGenerator[AgentConfig, None]:
        """Yields the current configuration, then each later one. Raises NotFound when the epoch is over."""
        while True:
            try:
                async with aclosing(self._since_now()) as configs:
                    async for config in configs:
                        yield config
            except TooOld:
                continue  # the config is computed from current rows, so nothing is missed

    async def _since_now(self) -> AsyncGenerator[AgentConfig, None]:
        owner = (await self._session())[0].owner
        certified = None

        def concerns(change: Change) -> bool:
            changed = change.resource
            if not isinstance(changed, Session):
                return True
            return change.deleted or changed.epoch != self.epoch or changed.full_name != certified

        keys, session = Topic(SshKey.kind, "owner", owner), Topic(Session.kind, "key", self.session_uid)
        async with self.feed.subscribe(keys, session, match=concerns) as news:
            while True:
                config, certified = await self._config()
                yield config
                await _newer_than(news, config.generation)

    async def _config(self) -> tuple[AgentConfig, SessionName]:
        """The present configuration, and the name that its host certificate has."""
        session, keys, revision = await self._session()
        every = [key.public_key for key in keys] + [PublicKey.parse(key).text for key in session.spec.authorized_keys]
        config = AgentConfig(
            generation=revision,
            authorized_keys=tuple(dict.fromkeys(every)),
            user_ca_keys=(self.ca.ssh_user_ca,),
            host_certificate=self.ca.sign_ssh_host(
                self.host_key,
                _principals(session),
                f"host:{session.uid}",
                self.clock(),
            ),
            user_principals=(principal_of(session.owner),),
        )
        return config, session.full_name

    async def _session(self) -> tuple[Session, list[SshKey], int]:
        """The session, its owner's keys, and the revision of the read. Raises NotFound."""
        async with self.store.read() as reader:
            session = await reader.get(Session, self.session_uid)
            if session is None or session.epoch != self.epoch:
                raise NotFound(f"session {self.session_uid} in epoch {self.epoch} is over: it was removed or moved")
            return session, await reader.find(SshKey, owner=session.owner), reader.revision


def _principals(session: Session) -> tuple[str, ...]:
    """Unique names of a session. NAME alone is left out: clients would take sessions of two owners for one host."""
    full_name = str(session.full_name)
    return session.uid, full_name, ".".join((full_name, *ZONE))


async def _newer_than(news: Subscription, revision: int) -> None:
    """Returns after a change later than `revision`, or when it is time for a new host certificate."""
    try:
        async with asyncio.timeout(_CERTIFY_AGAIN.total_seconds()):
            while (await anext(news)).revision <= revision:
                pass
    except TimeoutError:
        return
