from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import asyncssh
import pytest

from netvps.adapters.ca.opening import open_ca
from netvps.domain.access.accounts import Role, User
from netvps.domain.access.sharing import ShareRole
from netvps.domain.access.ssh_key import PublicKey
from netvps.domain.session.lifecycle import place
from netvps.domain.session.session import SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import NotFound
from netvps.services.access.agent_configs import AgentConfigs
from netvps.services.access.logins import Logins
from netvps.services.feed import Feed, Topic
from netvps.tasks import Tasks
from tests.fakes.keys import ed25519
from tests.fakes.world import ALICE, BOB
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from netvps.domain.tunnel import AgentConfig
    from tests.fakes.world import World


async def _next(configs: AsyncIterator[AgentConfig]) -> AgentConfig:
    async with asyncio.timeout(PATIENCE):
        return await anext(configs)


async def test_keys_of_the_owner_and_of_the_spec_each_once(world: World) -> None:
    await world.runner()
    await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(1)))
    await world.ssh_keys.create(BOB, PublicKey.parse(ed25519(9)))
    session = await world.session(spec=SessionSpec(authorized_keys=(f"{ed25519(1)} again", f"{ed25519(2)} c@d")))
    async with aclosing(world.logins.configs(session.uid, 1, "HOSTKEY")) as configs:
        config = await _next(configs)
    assert config.authorized_keys == (ed25519(1), ed25519(2))
    assert config.user_ca_keys == (world.ca.ssh_user_ca,)
    names = f"{session.uid}, dev1.alice, dev1.alice.nv.internal"
    assert config.host_certificate == f"host HOSTKEY is {names} (host:{session.uid})"


async def _accepts(name: str, known_hosts: Path, port: int) -> bool:
    """Whether OpenSSH takes a server for the host of that name. No login succeeds, which comes after that."""
    options = {
        "BatchMode": "yes",
        "IdentityFile": "none",
        "IdentityAgent": "none",
        "HostKeyAlias": name,
        "StrictHostKeyChecking": "yes",
        "UserKnownHostsFile": str(known_hosts),
        "GlobalKnownHostsFile": "none",
    }
    arguments = [part for option in options.items() for part in ("-o", "=".join(option))]
    process = await asyncio.create_subprocess_exec(
        "ssh", "-F", "none", *arguments, "-p", str(port), "root@127.0.0.1", "true", stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(PATIENCE):
        _, said = await process.communicate()
    assert b"Permission denied" in said or b"Host key verification failed" in said, said
    return b"Permission denied" in said


async def test_to_a_client_that_trusts_the_ca_sessions_of_two_owners_are_two_hosts(
    world: World, tmp_path: Path
) -> None:
    await world.runner()
    ca = open_ca(tmp_path / "ca", "cluster", lambda: datetime.now(UTC))
    logins = Logins(world.store, lambda: datetime.now(UTC), ca, world.feed)
    known_hosts = tmp_path / "known_hosts"
    known_hosts.write_text(f"@cert-authority * {ca.ssh_host_ca}\n")
    ports = []
    async with AsyncExitStack() as stack:
        for owner in (ALICE, BOB):
            session = await world.session("dev1", owner)
            key = asyncssh.generate_private_key("ssh-ed25519")
            public_key = key.export_public_key().decode()
            configs = await stack.enter_async_context(aclosing(logins.configs(session.uid, 1, public_key)))
            certificate = asyncssh.import_certificate((await _next(configs)).host_certificate)
            server = await asyncssh.listen("127.0.0.1", 0, server_host_keys=[(key, certificate)])
            stack.push_async_callback(server.wait_closed)
            stack.callback(server.close)
            ports.append(server.get_port())
        alices, bobs = ports
        for name, accepted in {
            "dev1.alice": [True, False],
            "dev1.bob.nv.internal": [False, True],
            "dev1": [False, False],
        }.items():
            assert [await _accepts(name, known_hosts, port) for port in (alices, bobs)] == accepted, name


async def test_each_change_of_keys_comes_with_a_higher_generation(world: World) -> None:
    await world.runner()
    session = await world.session()
    async with aclosing(world.logins.configs(session.uid, 1, "HOSTKEY")) as configs:
        first = await _next(configs)
        await world.ssh_keys.create(BOB, PublicKey.parse(ed25519(9)))
        await world.reported(session, SessionState.RUNNING)
        key = await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(1)))
        added = await _next(configs)
        await world.ssh_keys.delete(ALICE, "", key.uid)
        removed = await _next(configs)
    assert [config.authorized_keys for config in (first, added, removed)] == [(), (ed25519(1),), ()]
    assert first.generation < added.generation < removed.generation
    assert added.generation == key.revision


async def test_a_new_name_comes_with_a_certificate_for_it(world: World) -> None:
    await world.runner()
    session = await world.session()
    async with aclosing(world.logins.configs(session.uid, 1, "HOSTKEY")) as configs:
        await _next(configs)
        await world.sessions.rename(ALICE, "dev1", "web")
        names = f"{session.uid}, web.alice, web.alice.nv.internal"
        renamed = await _next(configs)
        assert renamed.host_certificate == f"host HOSTKEY is {names} (host:{session.uid})"
        await world.reported(session, SessionState.RUNNING)  # is no news
        await world.sessions.rename(ALICE, "web", "dev1")
        assert "dev1.alice" in (await _next(configs)).host_certificate


async def test_a_burst_of_changes_is_one_config(world: World) -> None:
    await world.runner()
    session = await world.session()
    async with aclosing(world.logins.configs(session.uid, 1, "HOSTKEY")) as configs:
        await _next(configs)
        for number in range(3):
            await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(number)))
        assert len((await _next(configs)).authorized_keys) == 3
        await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(7)))
        assert len((await _next(configs)).authorized_keys) == 4


async def test_configs_end_when_the_session_is_gone(world: World) -> None:
    await world.runner()
    session = await world.session()
    async with aclosing(world.logins.configs(session.uid, 1, "HOSTKEY")) as configs:
        await _next(configs)
        await world.sessions.delete(ALICE, "dev1")
        await world.reported(session, SessionState.DELETED)
        with pytest.raises(NotFound, match="is over: it was removed or moved"):
            await _next(configs)


async def test_configs_end_when_the_epoch_is_over(world: World) -> None:
    runner = await world.runner()
    session = await world.session()
    async with aclosing(world.logins.configs(session.uid, 1, "HOSTKEY")) as configs:
        await _next(configs)
        async with world.store.write("test") as tx:
            await tx.put(place(session, runner, world.clock()))
        with pytest.raises(NotFound):
            await _next(configs)
    for uid, epoch in ((session.uid, 1), ("x", 1)):
        with pytest.raises(NotFound):
            await _next(world.logins.configs(uid, epoch, "HOSTKEY"))


async def test_host_certificates_are_renewed_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.services.access.agent_configs._CERTIFY_AGAIN", timedelta(milliseconds=20))
    await world.runner()
    session = await world.session()
    async with aclosing(world.logins.configs(session.uid, 1, "HOSTKEY")) as configs:
        first = await _next(configs)
        assert await _next(configs) == first  # certified again: the certificate of the fake bears no date


async def test_an_agent_that_falls_behind_gets_what_holds_now(world: World) -> None:
    await world.runner()
    session = await world.session()
    feed = Feed(world.store, queue_length=1)
    async with Tasks() as tasks:
        tasks.start(feed.run(), name="feed")
        slow = AgentConfigs(world.store, world.clock, world.ca, feed, session.uid, 1, "HOSTKEY").follow()
        async with aclosing(slow) as configs, world.feed.subscribe(Topic()) as every:
            await _next(configs)
            for number in range(3):
                await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(number)))
                await anext(every)
            assert len((await _next(configs)).authorized_keys) == 3


async def test_keys_of_those_who_may_use_it_come_and_go_with_their_share(world: World) -> None:
    await world.runner()
    session = await world.session()
    await world.ssh_keys.create(BOB, PublicKey.parse(ed25519(1)))
    async with aclosing(world.logins.configs(session.uid, 1, "HOSTKEY")) as configs:
        assert (await _next(configs)).user_principals == ("users/alice",)
        await world.shares.put(ALICE, "dev1", "bob", ShareRole.VIEW)
        viewing = await _next(configs)
        assert (viewing.authorized_keys, viewing.user_principals) == ((), ("users/alice",))
        await world.shares.put(ALICE, "dev1", "bob", ShareRole.USE, world.clock() + timedelta(hours=1))
        using = await _next(configs)
        assert (using.authorized_keys, using.user_principals) == ((ed25519(1),), ("users/alice", "users/bob"))
        key = await world.ssh_keys.create(BOB, PublicKey.parse(ed25519(2)))
        assert set((await _next(configs)).authorized_keys) == {ed25519(1), ed25519(2)}
        await world.ssh_keys.delete(BOB, "", key.uid)
        assert (await _next(configs)).authorized_keys == (ed25519(1),)
        world.clock.advance(seconds=3600)
        await world.shares.expire()
        ended = await _next(configs)
        assert (ended.authorized_keys, ended.user_principals) == ((), ("users/alice",))
        await world.ssh_keys.create(BOB, PublicKey.parse(ed25519(3)))  # is no news any more
        await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(4)))
        assert (await _next(configs)).authorized_keys == (ed25519(4),)


async def test_keys_of_a_viewer_open_nothing(world: World) -> None:
    await world.runner()
    session = await world.session()
    await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(1)))
    async with aclosing(world.logins.configs(session.uid, 1, "HOSTKEY")) as configs:
        assert (await _next(configs)).authorized_keys == (ed25519(1),)
        for role, keys in ((Role.VIEWER, ()), (Role.USER, (ed25519(1),))):
            async with world.store.write("test") as tx:
                await tx.put(User("alice", role, world.clock()))
            assert (await _next(configs)).authorized_keys == keys
