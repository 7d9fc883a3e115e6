"""Users and their API keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from netvps.domain.access.accounts import Caller, Credential, Role, Scope, SshKey, User
from netvps.domain.access.invitations import Invitation
from netvps.domain.access.oidc import ExternalAccount
from netvps.domain.access.sharing import Share
from netvps.domain.checks import shown
from netvps.domain.http.stored import StoredUrl
from netvps.domain.session.session import Session
from netvps.domain.task.task import OPEN, Task
from netvps.errors import AlreadyExists, InvalidInput, NotFound, Unauthenticated, WrongState
from netvps.services.access.quotas import Quotas
from netvps.services.access.tokens import API, Token, mint
from netvps.services.auditing import add_details
from netvps.services.idempotency import Idempotency, recall
from netvps.services.page import Page, read_page
from netvps.services.sessions.scope import ME, require_user, user_in_sight
from netvps.services.tasks.removal import remove_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from netvps.domain.access.quota import QuotaUse
    from netvps.services.ports import Clock, Reader, Store

OVERLAP: Final = timedelta(days=1)
"""How long a rotated API key goes on working, unless the caller says otherwise."""
MAX_OVERLAP: Final = timedelta(days=30)


class Access:
    """Manages users, and authenticates credentials."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        note_use: Callable[[str, datetime], None] | None = None,
        quotas: Quotas | None = None,
    ) -> None:
        """`note_use` learns of each use of an API key (kid)."""
        self._quotas = quotas or Quotas()
        self._store = store
        self._clock = clock
        self._note_use = note_use or (lambda _kid, _time: None)

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
                    return Caller(user.name, credential.scope.limits(user.role), credential.scope)
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

    async def quota_use(self, caller: Caller, name: str) -> QuotaUse:
        """A user's limits, and what their sessions have. Raises NotFound, also if the caller may not see them."""
        async with self._store.read() as reader:
            return await self._quotas.use(reader, await user_in_sight(reader, caller, name))

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

    async def update_user(
        self,
        caller: Caller,
        name: str,
        role: Role | None = None,
        quota: Mapping[str, int | None] | None = None,
        *,
        request_id: str = "",
    ) -> User:
        """Changes a user's role, and the limits in `quota`, by resource.

        Raises NotFound, and WrongState if no admin would be left.
        """
        name = caller.user if name == ME else name
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, self._clock(), "UpdateUser", name, role, quota)
            request = await once.earlier()
            if request is None:
                user = await require_user(tx, name)
                if role not in {None, Role.ADMIN}:
                    await _require_another_admin(tx, user)
                changed = replace(user, role=role or user.role, quota=replace(user.quota, **(quota or {})))
                changed = await tx.put(changed) if changed != user else user
                for resource, limit in (quota or {}).items():
                    add_details((f"quota.{resource}", "of the role" if limit is None else str(limit)))
                await once.record(changed, name)
                return changed
        return (await recall(self._store, User, request))[0]

    async def delete_user(self, caller: Caller, name: str, request_id: str = "") -> User:
        """Removes a user with their keys. Raises NotFound, and WrongState while they own sessions or tasks run."""
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
                for invitation in await tx.find(Invitation, issuer=name):
                    await tx.delete(invitation)
                for account in await tx.find(ExternalAccount, user=name):
                    await tx.delete(account)
                for url in await tx.find(StoredUrl):
                    if name in url.users:  # a later user of that name is another person
                        await tx.put(replace(url, users=tuple(user for user in url.users if user != name)))
                for task in await tx.find(Task, owner=name):
                    await remove_task(tx, task)
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

    async def create_api_key(
        self,
        caller: Caller,
        parent: str,
        request_id: str = "",
        *,
        title: str = "",
        ttl: timedelta | None = None,
        scope: Scope = Scope.FULL,
    ) -> tuple[Credential, str]:
        """Creates an API key and returns its "nv_KID_SECRET", which is not stored; without `ttl` it never expires.

        Raises NotFound, and AlreadyExists if this request has made a key already.
        """
        now = self._clock()
        async with self._store.write(caller.user) as tx:
            owner = caller.user if parent in {"", ME} else parent
            once = Idempotency(tx, caller, request_id, now, "CreateApiKey", owner, title, str(ttl), scope)
            await once.earlier_secret()
            user = await user_in_sight(tx, caller, parent)
            credential, secret = mint(API, user.name, now, ttl, title=title)
            credential = await tx.put(replace(credential, scope=scope))
            await once.record(credential, f"API key {credential.kid}")
        return credential, secret

    async def rotate_api_key(
        self, caller: Caller, parent: str, kid: str, request_id: str = "", *, overlap: timedelta = OVERLAP
    ) -> tuple[Credential, str]:
        """Creates an API key in place of one's own, or as an admin anybody's; returns it as `create_api_key` does.

        It has the title, the scope and the lifetime of the other one, which works for `overlap` from now on, unless it
        ends earlier. Raises InvalidInput, NotPermitted, NotFound, WrongState if the other one has expired, and
        AlreadyExists if this request has made a key already.
        """
        if not timedelta(0) <= overlap <= MAX_OVERLAP:
            raise InvalidInput.of("overlap", f"{overlap.total_seconds():g} s is not between 0 and 30 days")
        owner, now = self._owner(caller, parent, "rotate"), self._clock()
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, now, "RotateApiKey", owner, kid, str(overlap))
            await once.earlier_secret()
            old = await _api_key(tx, owner, kid)
            if old.expired(now):
                raise WrongState(f"API key {kid} has expired: make another one, with netvps user api-key create")
            life = None if old.expire_time is None else old.expire_time - old.create_time
            made, secret = mint(API, owner, now, life, title=old.title)
            made = await tx.put(replace(made, scope=old.scope))
            ends = now + overlap
            await tx.put(replace(old, expire_time=min(old.expire_time or ends, ends)))
            await once.record(made, f"API key {made.kid}")
        return made, secret

    async def delete_api_key(self, caller: Caller, parent: str, kid: str, request_id: str = "") -> Credential:
        """Revokes one's own API key, or as an admin anybody's. Raises NotPermitted, NotFound."""
        owner = self._owner(caller, parent, "revoke")
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, self._clock(), "DeleteApiKey", owner, kid)
            request = await once.earlier()
            if request is None:
                credential = await _api_key(tx, owner, kid)
                await tx.delete(credential)
                await once.record(credential, f"API key {kid}")
                return credential
        return (await recall(self._store, Credential, request))[0]

    def _owner(self, caller: Caller, parent: str, action: str) -> str:
        """Whose API key is meant. Raises NotPermitted if it is another user's and the caller is no admin."""
        owner = caller.user if parent in {"", ME} else parent
        if owner != caller.user:
            caller.require_admin(f"{action} API keys of other users")
        return owner


async def _api_key(reader: Reader, owner: str, kid: str) -> Credential:
    credential = await reader.get(Credential, kid)
    if credential is None or (credential.purpose, credential.subject) != (API, owner):
        raise NotFound(f"user {shown(owner)[1:-1]} has no API key {shown(kid)[1:-1]}")
    return credential


async def _require_another_admin(reader: Reader, user: User) -> None:
    if await reader.find(User, role=Role.ADMIN) == [user]:
        raise WrongState(f"{user.name} is the only admin: make another one first")


async def _require_removable(reader: Reader, caller: Caller, user: User) -> None:
    if user.name == caller.user:
        raise WrongState("you cannot remove yourself: ask another admin")
    await _require_another_admin(reader, user)
    sessions = await reader.find(Session, owner=user.name)
    if sessions:
        count = f"{len(sessions)} session{'s' if len(sessions) > 1 else ''}"
        raise WrongState(f"user {user.name} owns {count}: remove them first, with netvps rm {sessions[0].full_name} …")
    if tasks := await reader.find(Task, owner=user.name, state=OPEN):
        raise WrongState(
            f"user {user.name} has tasks that have not ended ({len(tasks)}): cancel them first, with "
            f"netvps task cancel {tasks[0].array} …"
        )
