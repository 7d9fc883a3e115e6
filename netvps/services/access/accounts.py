"""Users and their API keys."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from netvps.domain.access.accounts import Caller, Credential, Role, SshKey, User
from netvps.domain.access.sharing import Share
from netvps.domain.checks import shown
from netvps.domain.session.session import Session
from netvps.errors import AlreadyExists, NotFound, Unauthenticated, WrongState
from netvps.services.access.tokens import API, Token, mint
from netvps.services.idempotency import Idempotency, recall
from netvps.services.page import Page, read_page
from netvps.services.sessions.scope import ME, require_user, user_in_sight

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from netvps.services.ports import Clock, Reader, Store

_USED: Final = 10_000
"""Number of API keys whose last use is cached."""


class Access:
    """Manages users, and authenticates credentials."""

    def __init__(self, store: Store, clock: Clock, new_uid: Callable[[], str]) -> None:
        self._store = store
        self._clock = clock
        self._last_use: OrderedDict[str, datetime] = OrderedDict()

    async def ensure_admin(self, name: str) -> User:
        """Returns the admin with this name: the account that started the server. Creates or promotes it if needed."""
        async with self._store.write(name) as tx:
            user = await tx.get(User, name)
            if user is None:
                return await tx.put(User(name, Role.ADMIN, self._clock()))
            return user if user.role is Role.ADMIN else await tx.put(replace(user, role=Role.ADMIN))

    async def authenticate(self, api_key: str) -> Caller:
        """The caller of an API key "nv_KID_SECRET". Raises Unauthenticated, with the same message for every cause."""
        token, now = Token.parse(api_key, API), self._clock()
        async with self._store.read() as reader:
            credential = await reader.get(Credential, token.kid) if token else None
            if token and credential and credential.purpose == API and credential.matches(token.secret, now):
                user = await reader.get(User, credential.subject)
                if user is not None:
                    self._note_use(token.kid, now)
                    return Caller(user.name, user.role)
        raise Unauthenticated(
            "this API key is unknown, expired or revoked: ask an admin for a new one, then netvps login HOST",
            reason="BAD_API_KEY",
        )

    async def caller_of(self, user_name: str) -> Caller:
        """The caller for a user that the transport authenticated. Raises Unauthenticated for an unknown user."""
        async with self._store.read() as reader:
            user = await reader.get(User, user_name)
        if user is None:
            name = shown(user_name)[1:-1]
            raise Unauthenticated(
                f"{name} is no user here: ask an admin to add you, with netvps user add {name}",
                reason="UNKNOWN_USER",
            )
        return Caller(user.name, user.role)

    async def get_user(self, caller: Caller, name: str) -> User:
        """A user; "me" is the caller. Raises NotFound, also if the caller may not see them."""
        async with self._store.read() as reader:
            return await user_in_sight(reader, caller, name)

    async def list_users(self, caller: Caller, *, page_size: int = 0, page_token: str = "") -> Page[User]:
        """Users by name. Raises InvalidInput."""
        async with self._store.read() as reader:
            return await read_page(reader, User, page_size, page_token)

    async def create_user(self, caller: Caller, user_id: str, role: Role, request_id: str = "") -> User:
        """Adds a user. Raises AlreadyExists."""
        now = self._clock()
        async with self._store.write(caller.user, "access.user") as tx:
            once = Idempotency(tx, caller, request_id, now, "CreateUser", user_id, role)
            request = await once.earlier()
            if request is None:
                if await tx.get(User, user_id) is not None:
                    raise AlreadyExists(f"user {user_id} exists already: choose another name")
                user = await tx.put(User(user_id, role, now))
                await once.record(user, user_id)
                return user
        return (await recall(self._store, User, request))[0]

    async def delete_user(self, caller: Caller, name: str, request_id: str = "") -> User:
        """Removes a user with their keys. Raises NotFound, and WrongState while they own sessions."""
        name = caller.user if name == ME else name
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, self._clock(), "DeleteUser", name)
            request = await once.earlier()
            if request is None:
                user = await require_user(tx, name)
                await _require_removable(tx, caller, user)
                for key in await tx.find(SshKey, owner=name):
                    await tx.delete(key)
                for credential in await tx.find(Credential, purpose=API, subject=name):
                    await tx.delete(credential)
                for share in await tx.find(Share, user=name):
                    await tx.delete(share)
                await tx.delete(user)
                await once.record(user, name)
                return user
        return (await recall(self._store, User, request))[0]

    async def list_api_keys(
        self, caller: Caller, parent: str, *, page_size: int = 0, page_token: str = ""
    ) -> Page[Credential]:
        """A user's API keys by kid. Raises InvalidInput, and NotFound, also if the caller may not see that user."""
        async with self._store.read() as reader:
            user = await user_in_sight(reader, caller, parent)
            return await read_page(reader, Credential, page_size, page_token, purpose=API, subject=user.name)

    def last_use(self, kid: str) -> datetime | None:
        """When an API key was last used since this server started.

        In memory, because a write per call would cost too much.
        """
        return self._last_use.get(kid)

    async def create_api_key(
        self, caller: Caller, parent: str, request_id: str = "", *, title: str = "", ttl: timedelta | None = None
    ) -> tuple[Credential, str]:
        """Creates an API key and returns its "nv_KID_SECRET", which is not stored; without `ttl` it never expires.

        Raises NotFound, and AlreadyExists if this request has made a key already.
        """
        now = self._clock()
        async with self._store.write(caller.user) as tx:
            owner = caller.user if parent in {"", ME} else parent
            once = Idempotency(tx, caller, request_id, now, "CreateApiKey", owner, title, str(ttl))
            await once.earlier_secret()
            user = await user_in_sight(tx, caller, parent)
            credential, secret = mint(API, user.name, now, ttl, title=title)
            credential = await tx.put(credential)
            await once.record(credential, f"API key {credential.kid}")
        return credential, secret

    async def delete_api_key(self, caller: Caller, parent: str, kid: str, request_id: str = "") -> Credential:
        """Revokes one's own API key, or as an admin anybody's. Raises NotPermitted, NotFound."""
        owner = caller.user if parent in {"", ME} else parent
        if owner != caller.user:
            caller.require_admin("revoke API keys of other users")
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, self._clock(), "DeleteApiKey", owner, kid)
            request = await once.earlier()
            if request is None:
                credential = await tx.get(Credential, kid)
                if credential is None or (credential.purpose, credential.subject) != (API, owner):
                    raise NotFound(f"user {shown(owner)[1:-1]} has no API key {shown(kid)[1:-1]}")
                await tx.delete(credential)
                await once.record(credential, f"API key {kid}")
                return credential
        return (await recall(self._store, Credential, request))[0]

    def _note_use(self, kid: str, now: datetime) -> None:
        self._last_use[kid] = now
        self._last_use.move_to_end(kid)
        if len(self._last_use) > _USED:
            self._last_use.popitem(last=False)


async def _require_removable(reader: Reader, caller: Caller, user: User) -> None:
    if user.name == caller.user:
        raise WrongState("you cannot remove yourself: ask another admin")
    admins = [other for other in await reader.find(User) if other.role is Role.ADMIN]
    if admins == [user]:
        raise WrongState(f"{user.name} is the only admin: make another one first")
    sessions = await reader.find(Session, owner=user.name)
    if sessions:
        count = f"{len(sessions)} session{'s' if len(sessions) > 1 else ''}"
        raise WrongState(f"user {user.name} owns {count}: remove them first, with netvps rm {sessions[0].full_name} …")
