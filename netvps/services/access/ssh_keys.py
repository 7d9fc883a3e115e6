"""SSH public keys of users. Agents receive changes at once (logins.py)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.access.accounts import SshKey
from netvps.domain.checks import shown
from netvps.errors import AlreadyExists, Exhausted, NotFound
from netvps.services.idempotency import Idempotency, recall
from netvps.services.page import Page, read_page
from netvps.services.sessions.scope import user_in_sight

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.domain.access.accounts import Caller
    from netvps.domain.access.ssh_key import PublicKey
    from netvps.services.ports import Clock, Reader, Store

MAX_KEYS = 200
"""Maximum per user: all of them are sent to each of the user's agents in one message."""


class SshKeys:
    """Registers and revokes keys; `parent` is a user, "" or "me" the caller."""

    def __init__(self, store: Store, clock: Clock, new_uid: Callable[[], str]) -> None:
        self._store = store
        self._clock = clock
        self._new_uid = new_uid

    async def list(self, caller: Caller, *, parent: str = "", page_size: int = 0, page_token: str = "") -> Page[SshKey]:
        """A user's keys by fingerprint. Raises NotFound, InvalidInput."""
        async with self._store.read() as reader:
            user = await user_in_sight(reader, caller, parent)
            return await read_page(reader, SshKey, page_size, page_token, owner=user.name)

    async def create(
        self, caller: Caller, key: PublicKey, *, parent: str = "", title: str = "", request_id: str = ""
    ) -> SshKey:
        """Registers a key; its title defaults to the key's comment. Raises NotFound, AlreadyExists, Exhausted."""
        now = self._clock()
        async with self._store.write(caller.user, "key.create") as tx:
            user = await user_in_sight(tx, caller, parent)
            once = Idempotency(tx, caller, request_id, now, "CreateSshKey", user.name, key.text, title)
            request = await once.earlier()
            if request is None:
                await require_new(tx, user.name, key.fingerprint)
                ssh_key = await tx.put(
                    SshKey(self._new_uid(), user.name, key.text, key.fingerprint, title or key.comment, now)
                )
                await once.record(ssh_key, key.fingerprint)
                return ssh_key
        return (await recall(self._store, SshKey, request))[0]

    async def delete(self, caller: Caller, parent: str, key: str, *, request_id: str = "") -> SshKey:
        """Revokes a key by uid or fingerprint. Raises NotFound."""
        async with self._store.write(caller.user, "key.delete") as tx:
            user = await user_in_sight(tx, caller, parent)
            once = Idempotency(tx, caller, request_id, self._clock(), "DeleteSshKey", user.name, key)
            request = await once.earlier()
            if request is None:
                ssh_key = await _find(tx, user.name, key)
                await tx.delete(ssh_key)
                await once.record(ssh_key, ssh_key.fingerprint)
                return ssh_key
        return (await recall(self._store, SshKey, request))[0]


async def require_new(reader: Reader, owner: str, fingerprint: str) -> None:
    """Raises AlreadyExists if a user has that key, Exhausted if the owner has too many."""
    found = await reader.find(SshKey, fingerprint=fingerprint)
    if found and found[0].owner == owner:
        raise AlreadyExists(f"key {fingerprint} is registered already, as {found[0].title or found[0].uid!r}")
    if found:  # does not disclose the owner
        raise AlreadyExists(f"key {fingerprint} is registered already: use another key")
    if len(await reader.find(SshKey, owner=owner)) >= MAX_KEYS:
        raise Exhausted(
            f"user {owner} has {MAX_KEYS} keys, which is the limit: remove one first, with netvps key rm KEY"
        )


async def _find(reader: Reader, owner: str, key: str) -> SshKey:
    for ssh_key in await reader.find(SshKey, owner=owner):
        if key in {ssh_key.uid, ssh_key.fingerprint}:
            return ssh_key
    raise NotFound(f"user {owner} has no key {shown(key)[1:-1]}: see netvps key ls")
