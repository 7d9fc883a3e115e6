"""Authorises SSH logins for the gateway, and computes what agents accept."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from netvps.domain.access.accounts import Caller, SshKey, User
from netvps.domain.access.sharing import right_for_login
from netvps.domain.names import SessionName
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.sleep.waking import ALIVE, LoginEffect, LoginKind, effect_of_login
from netvps.errors import InvalidInput, NotFound, NotPermitted
from netvps.services.access.agent_configs import AgentConfigs
from netvps.services.access.quotas import Quotas
from netvps.services.access.terminal_ui import TERMINAL_UI
from netvps.services.sessions.scope import permitted_session
from netvps.services.sleep.waking import wake_session

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from netvps.domain.names import SshLogin
    from netvps.domain.tunnel import AgentConfig
    from netvps.services.feed import Feed
    from netvps.services.ports import CertificateAuthority, Clock, Reader, Store

_ROOT: Final = "root"
_NAMED = 5
"""Maximum number of sessions named in a message, and read for it."""
_MESSAGE: Final = 2000
"""Longest message that a gateway gets."""


@dataclass(frozen=True, slots=True)
class SessionRef:
    """A session, reduced to the fields that a gateway needs."""

    uid: str
    name: str
    owner: str
    state: SessionState
    effect: LoginEffect = LoginEffect.NONE
    """What a login does to it."""
    message: str = ""
    """What it is about, or why it failed, for its users."""

    @property
    def full_name(self) -> SessionName:
        """NAME.OWNER."""
        return SessionName(self.owner, self.name)


def ref_to(session: Session) -> SessionRef:
    """The session for a gateway. One that is to be paused counts as PAUSED already: a login has to wake it."""
    pausing = session.desired is DesiredState.PAUSED and session.state in ALIVE
    state = SessionState.PAUSED if pausing else session.state
    effect = effect_of_login(session)
    message = session.message[:_MESSAGE]
    return SessionRef(session.uid, session.name, session.owner, state, effect, message)


@dataclass(frozen=True, slots=True)
class Grant:
    """An authorised login. The gateway decides what the session's state means for it."""

    session: SessionRef
    unix_user: str
    user: str
    """Owner of the key; the fingerprint, for a key that is only in the session's spec."""


class Logins:
    """Authorises logins, and computes the keys that agents accept.

    A registered key belongs to a user: it opens the user's own sessions and those shared with them, and an admin's key
    opens all. A key in a session's spec opens that session, registered or not. Any login name that is none of a user's
    sessions gets what has no session: the terminal UI, and connections into sessions.
    """

    def __init__(
        self, store: Store, clock: Clock, ca: CertificateAuthority, feed: Feed, quotas: Quotas | None = None
    ) -> None:
        self._quotas = quotas or Quotas()
        self._store = store
        self._clock = clock
        self._ca = ca
        self._feed = feed

    async def authorize(self, login: SshLogin, fingerprint: str) -> Grant:
        """The login that a key ("SHA256:…") gets.

        Called before authentication, so the cost is bounded: a few indexed reads.

        Raises NotFound if the key's user has no such session, NotPermitted if the key is not registered and opens no
        session.
        """
        async with self._store.read() as reader:
            found = await reader.find(SshKey, fingerprint=fingerprint)
            user = await reader.get(User, found[0].owner) if found else None
            if user is None:
                session = await _by_spec(reader, login, fingerprint)
                if session is None:
                    raise NotPermitted(
                        f"key {fingerprint} is not registered: add it with netvps key add", reason="KEY_UNKNOWN"
                    )
                return Grant(ref_to(session), login.unix_user, fingerprint)
            caller = Caller(user.name, user.role)
            try:
                return Grant(ref_to(await self._named(reader, caller, login)), login.unix_user, caller.user)
            except NotFound:
                session = await _by_spec(reader, login, fingerprint)
                if session is None:
                    return _without_session(login, caller)
            except NotPermitted:  # it is shared with them, but not for that
                session = await _by_spec(reader, login, fingerprint)
                if session is None:
                    raise
            return Grant(ref_to(session), login.unix_user, caller.user)

    async def authorize_user(self, login: SshLogin, user_name: str) -> Grant:
        """The login that a user's certificate gets.

        Raises NotFound, and NotPermitted if the user was removed meanwhile.
        """
        async with self._store.read() as reader:
            user = await reader.get(User, user_name)
            if user is None:
                raise NotPermitted(f"user {user_name} was removed: ask an admin to add you again", reason="KEY_UNKNOWN")
            caller = Caller(user.name, user.role)
            try:
                return Grant(ref_to(await self._named(reader, caller, login)), login.unix_user, caller.user)
            except NotFound:
                return _without_session(login, caller)

    async def _named(self, reader: Reader, caller: Caller, login: SshLogin) -> Session:
        """The session that a login names. Raises NotFound, NotPermitted."""
        try:
            name = SessionName(login.owner or caller.user, login.session)
        except InvalidInput:  # the name of a Unix user, which no session can have
            raise NotFound(f"no session {login.session}: see netvps ls") from None
        right = right_for_login(login.unix_user)
        return (await permitted_session(reader, caller, name, right, self._clock()))[0]

    async def wake(self, session_uid: str, actor: str, kind: LoginKind) -> None:
        """Resumes or starts a session that sleeps, for a login that was authorised; `actor` is its user or its key.

        However many log in at once, one of them wakes it. Raises WrongState if such a login does not, Unavailable if
        its runner is offline, Exhausted if it has no free GPUs.
        """
        await wake_session(self._store, self._clock, session_uid, actor, kind, quotas=self._quotas)

    async def look(self, session_uid: str) -> SessionRef:
        """The present state of a session. Raises NotFound."""
        async with self._store.read() as reader:
            session = await reader.get(Session, session_uid)
        if session is None:
            raise NotFound("the session was removed")
        return ref_to(session)

    async def certify(self, grant: Grant, public_key: str) -> str:
        """Issues an SSH user certificate (OpenSSH form, three minutes) for the login of a grant."""
        principal = f"{grant.session.uid}/{grant.unix_user}"
        key_id = f"{grant.user}@{grant.session.full_name}"
        return self._ca.sign_ssh_user(public_key, (principal,), key_id, self._clock())

    def configs(self, session_uid: str, epoch: int, host_key: str) -> AsyncGenerator[AgentConfig, None]:
        """Yields the configuration of a session's agent, now and after each change of keys; generations increase.

        Raises NotFound when that epoch is over, InvalidInput if the host key (OpenSSH form) is malformed.
        """
        return AgentConfigs(self._store, self._clock, self._ca, self._feed, session_uid, epoch, host_key).follow()


def _without_session(login: SshLogin, caller: Caller) -> Grant:
    """The terminal UI, and connections into sessions; unless the login can only mean a session. Raises NotFound."""
    if login.owner is not None or login.unix_user != _ROOT:
        raise NotFound(f"no session {login.session}.{login.owner or caller.user}: see netvps ls")
    ui = SessionRef(TERMINAL_UI, TERMINAL_UI, caller.user, SessionState.RUNNING)
    return Grant(ui, login.unix_user, caller.user)


async def _by_spec(reader: Reader, login: SshLogin, fingerprint: str) -> Session | None:
    """The session with that name whose spec has the key. Without OWNER, only if it is unique."""
    where = {"name": login.session} | ({} if login.owner is None else {"owner": login.owner})
    opened = await reader.page(Session, "", _NAMED + 1, key_fingerprints=fingerprint, **where)
    if len(opened) > 1:  # naming them discloses nothing, because the key opens all of them
        names = ", ".join(str(session.full_name) for session in opened[:_NAMED])
        names += ", …" if len(opened) > _NAMED else ""
        raise NotFound(f"this key opens several sessions named {login.session}: name one of {names}")
    return opened[0] if opened else None
