"""What a state of a session means for those who want in, and what ends the visits of those who are."""

from __future__ import annotations

import asyncio

import asyncssh
import pytest

from netvps.domain.session import SessionState
from netvps.gateway import ssh as gateway_ssh
from netvps.gateway.ssh import SshGateway
from netvps.gateway.ssh_listener import listen_at
from netvps.gateway.ssh_visit import closed
from netvps.services.logins import Grant
from tests.gateway.conftest import World, a_session

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
    SessionState.DELETED: "session dev1 is DELETED: create it anew with: netvps create dev1",
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
            world.doorman,
            world.ways,
            world.upstream,
            sock=listen_at("127.0.0.1", 0),
            host_key=asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode(),
        ) as gateway,
        asyncssh.connect(
            "127.0.0.1", gateway.port, username="dev1", client_keys=[str(world.key)], known_hosts=None, config=None
        ) as client,
    ):
        assert (await client.run("echo in")).stdout == "in\n"
        world.agent.control.cancel()
        await world.agent.until(lambda: not world.tunnels.controls)
        assert (await client.run("echo still in")).stdout == "still in\n"
        world.doorman.keys.clear()
        await asyncio.wait_for(client.wait_closed(), 10)
