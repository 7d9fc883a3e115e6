"""What a state of a session means for those who want in, and what ends the connections of those who are."""

from __future__ import annotations

import asyncio

import asyncssh
import pytest

from netvps.domain.session.session import SessionState
from netvps.gateway.ssh import gateway as gateway_ssh
from netvps.gateway.ssh.connection import closed
from netvps.gateway.ssh.gateway import SshGateway
from netvps.gateway.ssh.listener import listen_at
from netvps.services.access.logins import Grant
from tests.gateway.conftest import Ran, World, a_session, new_key, run

EXPECTED = {
    SessionState.PENDING: "session dev1 is PENDING: try again in a moment",
    SessionState.PREPARING: "session dev1 is PREPARING: try again in a moment",
    SessionState.STARTING: "session dev1 is STARTING: try again in a moment",
    SessionState.RUNNING: "",
    SessionState.PAUSED: "session dev1 is PAUSED: ask whoever paused it",
    SessionState.STOPPING: "session dev1 is STOPPING: when it is STOPPED, start it with: netvps start dev1",
    SessionState.SNAPSHOTTING: "session dev1 is SNAPSHOTTING: when it is STOPPED, start it with: netvps start dev1",
    SessionState.STOPPED: "session dev1 is STOPPED: start it with: netvps start dev1",
    SessionState.FAILED: "session dev1 is FAILED: see why with: netvps show dev1",
    SessionState.UNREACHABLE: "",
    SessionState.DELETED: "session dev1 is DELETED: create it again with: netvps create dev1",
}


@pytest.mark.parametrize("state", SessionState)
def test_every_state_says_what_to_do(state: SessionState) -> None:
    assert closed(Grant(a_session(state), "root", "alice")) == EXPECTED[state]


def test_others_than_the_owner_get_the_whole_name() -> None:
    stopped = a_session(SessionState.STOPPED)
    assert closed(Grant(stopped, "root", "admin")) == (
        "session dev1.alice is STOPPED: start it with: netvps start dev1.alice"
    )


async def test_a_key_that_was_removed_ends_a_visit_of_which_no_agent_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_ssh, "REVIEW_EVERY", 0.05)
    async with (
        SshGateway(
            world.authorizer,
            world.dialer,
            world.agent_login,
            sock=listen_at("127.0.0.1", 0),
            host_key=asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode(),
            user_ca=world.authorizer.user_ca.export_public_key().decode(),
        ) as gateway,
        asyncssh.connect(
            "127.0.0.1", gateway.port, username="dev1", client_keys=[str(world.key)], known_hosts=None, config=None
        ) as client,
    ):
        assert (await client.run("echo in")).stdout == "in\n"
        world.agent.control.cancel()
        await world.agent.until(lambda: not world.tunnels.controls)
        assert (await client.run("echo still in")).stdout == "still in\n"
        world.authorizer.keys.clear()
        await asyncio.wait_for(client.wait_closed(), 10)


# Keys that are refused


def _explained(ran: Ran) -> list[str]:
    return [line for line in ran.err.decode().splitlines() if line.startswith("netvps: ")]


@pytest.mark.parametrize("login", ["dev1", "nosuch", "dev1.bob"])
async def test_a_refused_key_is_named_with_what_to_do(world: World, login: str) -> None:
    stranger = new_key(world.folder / "stranger")
    fingerprint = asyncssh.read_private_key(str(stranger)).get_fingerprint()
    session = login.partition(".")[0]
    (line,) = _explained(await run(world.ssh("true", login=login, key=stranger)))
    assert line.startswith(f"netvps: session {session} is not open to key {fingerprint}: `netvps key add` registers")


async def test_a_key_without_that_session_is_told_what_a_key_of_nobody_is(world: World) -> None:
    stranger = new_key(world.folder / "stranger")
    said = []
    for key in (world.key, stranger):
        (line,) = _explained(await run(world.ssh("true", login="nosuch", key=key)))
        said.append(line.replace(asyncssh.read_private_key(str(key)).get_fingerprint(), "KEY"))
    assert said[0] == said[1]


async def test_what_is_no_session_is_named(world: World) -> None:
    (line,) = _explained(await run(world.ssh("true", login="BAD name")))
    assert line == "netvps: 'BAD name' is no session name: log in as NAME or NAME.OWNER; `netvps ls` lists yours"


async def test_dropbear_shows_it_too(world: World) -> None:
    key = world.folder / "dropbear"
    await run(["dropbearkey", "-t", "ed25519", "-f", str(key)])
    ran = await run(["dbclient", "-y", "-y", "-i", str(key), "-p", str(world.gateway.port), "dev1@127.0.0.1", "true"])
    assert b"netvps: session dev1 is not open to key SHA256:" in ran.err


async def test_keys_that_come_before_the_right_one_are_explained_once(world: World) -> None:
    others = [new_key(world.folder / f"other{n}") for n in range(5)]
    options = tuple(part for other in others for part in ("-i", str(other)))
    argv = ["ssh", *options, *world.ssh("true")[1:]]
    first, second = await run(argv), await run(argv)
    assert (first.code, second.code) == (0, 0)
    assert (len(_explained(first)), len(_explained(second))) == (3, 0)


async def test_too_many_keys_end_with_what_to_do(world: World) -> None:
    others = [new_key(world.folder / f"other{n}") for n in range(9)]
    options = tuple(part for other in others for part in ("-i", str(other)))
    ran = await run(["ssh", *options, *world.ssh("true")[1:]])
    assert b"6 keys were refused; offer one, with ssh -o IdentitiesOnly=yes -i FILE" in ran.err
