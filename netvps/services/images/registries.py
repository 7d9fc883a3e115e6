"""Logins to registries. A password is sealed before it is stored, and opened only for a runner that pulls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.image.login import Credential, RegistryLogin
from netvps.domain.image.reference import check_registry
from netvps.errors import NotFound
from netvps.services.idempotency import Idempotency, recall
from netvps.services.page import Page, read_page

if TYPE_CHECKING:
    from netvps.domain.access.accounts import Caller
    from netvps.services.ports import Clock, Store, Vault


class Registries:
    """Keeps one login for each host; `vault` seals the passwords."""

    def __init__(self, store: Store, clock: Clock, vault: Vault) -> None:
        self._store = store
        self._clock = clock
        self._vault = vault

    async def list(self, caller: Caller, *, page_size: int = 0, page_token: str = "") -> Page[RegistryLogin]:
        """The logins by host."""
        async with self._store.read() as reader:
            return await read_page(reader, RegistryLogin, page_size, page_token)

    async def put(self, caller: Caller, credential: Credential, request_id: str = "") -> RegistryLogin:
        """Stores a login, in place of an earlier one to the same host."""
        host = check_registry(credential.host)
        now = self._clock()
        async with self._store.write(caller.user, "registry.login") as tx:
            # Without the password: the record would be a hash of it, and passwords can be guessed.
            once = Idempotency(tx, caller, request_id, now, "UpdateRegistryLogin", host, credential.username)
            request = await once.earlier()
            if request is None:
                before = await tx.get(RegistryLogin, host)
                sealed = self._vault.seal(credential.password, _about(host))
                since = before.create_time if before else now
                login = await tx.put(RegistryLogin(host, credential.username, sealed, since, now))
                await once.record(login, f"the login to {host}")
                return login
        return (await recall(self._store, RegistryLogin, request))[0]

    async def delete(self, caller: Caller, host: str, request_id: str = "") -> None:
        """Removes a login. Raises NotFound."""
        host = check_registry(host)
        async with self._store.write(caller.user, "registry.logout") as tx:
            once = Idempotency(tx, caller, request_id, self._clock(), "DeleteRegistryLogin", host)
            if await once.earlier() is not None:
                return
            login = await tx.get(RegistryLogin, host)
            if login is None:
                raise NotFound(f"there is no login to registry {host}: see netvps registry ls")
            await tx.delete(login)
            await once.record(login, f"the login to {host}")

    async def credential(self, host: str) -> Credential:
        """The login with which a runner pulls. Raises NotFound if there is none, DataLoss if it cannot be read."""
        async with self._store.read() as reader:
            login = await reader.get(RegistryLogin, check_registry(host))
        if login is None:
            raise NotFound(f"there is no login to registry {host}")
        return Credential(login.host, login.username, self._vault.open(login.sealed, _about(login.host)))


def _about(host: str) -> str:
    """What a sealed password is bound to, and what messages call it."""
    return f"the login to registry {host}"
