"""Computes an agent's configuration whenever a key changes of those who may log in to its session."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from netvps.domain.access.accounts import SshKey, User
from netvps.domain.access.sharing import Right, Share, most_rights
from netvps.domain.access.ssh_key import PublicKey
from netvps.domain.overlay.dns import ZONE
from netvps.domain.session.session import Session
from netvps.domain.tunnel import AgentConfig
from netvps.errors import NotFound, TooOld
from netvps.services.access.ssh_certificates import principal_of
from netvps.services.feed import Topic

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

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
        certified = None

        def concerns(change: Change) -> bool:
            changed = change.resource
            if not isinstance(changed, Session):
                return True
            return change.deleted or changed.epoch != self.epoch or changed.full_name != certified

        topics = (Topic(Session.kind, "key", self.session_uid), Topic(Share.kind, "session", self.session_uid))
        followed: set[str] = set()
        async with self.feed.subscribe(*topics, match=concerns) as news:
            while True:
                access = await self._access()
                if users := access.candidates - followed:  # subscribe, then read: nothing may change in between
                    for topic in _topics(users):
                        news.follow(topic)
                    followed |= users
                    continue
                for topic in _topics(followed - access.candidates):
                    news.unfollow(topic)
                followed = set(access.candidates)
                config, certified = self._config(access), access.session.full_name
                yield config
                await _newer_than(news, config.generation)

    def _config(self, access: _Access) -> AgentConfig:
        session = access.session
        every = [key.public_key for key in access.keys]
        every += [PublicKey.parse(key).text for key in session.spec.authorized_keys]
        return AgentConfig(
            generation=access.revision,
            authorized_keys=tuple(dict.fromkeys(every)),
            user_ca_keys=(self.ca.ssh_user_ca,),
            host_certificate=self.ca.sign_ssh_host(
                self.host_key,
                _principals(session),
                f"host:{session.uid}",
                self.clock(),
            ),
            user_principals=tuple(map(principal_of, access.users)),
        )

    async def _access(self) -> _Access:
        """Who may log in to the session now. Raises NotFound."""
        async with self.store.read() as reader:
            session = await reader.get(Session, self.session_uid)
            if session is None or session.epoch != self.epoch:
                raise NotFound(f"session {self.session_uid} in epoch {self.epoch} is over: it was removed or moved")
            now = self.clock()
            shares = await reader.find(Share, session=session.uid)
            candidates = (session.owner, *(share.user for share in shares if share.permits(Right.LOGIN, now)))
            known = [await reader.get(User, name) for name in candidates]
            users = tuple(user.name for user in known if user and Right.LOGIN in most_rights(user.role))
            keys = [key for user in users for key in await reader.find(SshKey, owner=user)]
            return _Access(session, frozenset(candidates), users, keys, reader.revision)


@dataclass(frozen=True, slots=True)
class _Access:
    """A session, the users who may log in to it (its owner first), their keys, and the revision of the read."""

    session: Session
    candidates: frozenset[str]
    """Its owner, and those whose share permits it; their roles may not."""
    users: tuple[str, ...]
    keys: list[SshKey]
    revision: int


def _topics(users: Iterable[str]) -> list[Topic]:
    """Changes of users and of their keys."""
    return [topic for user in users for topic in (Topic(User.kind, "key", user), Topic(SshKey.kind, "owner", user))]


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
