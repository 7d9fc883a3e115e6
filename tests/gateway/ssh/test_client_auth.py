"""What a client learns about keys that are refused."""

from __future__ import annotations

from pathlib import Path

import asyncssh
import pytest
from asyncssh.packet import Boolean, MPInt, String

from netvps.domain.access.audit import TEXT_MAX, AuditEvent
from netvps.gateway.ssh import client_auth
from netvps.gateway.ssh.client_auth import PrecedingKeys
from tests.gateway.conftest import Ran, Sshd, World, a_world, new_key, run
from tests.gateway.ssh.test_pipe import Client, connect


def _explained(ran: Ran) -> list[str]:
    return [line for line in ran.err.decode().splitlines() if line.startswith("netvps: ")]


@pytest.mark.parametrize("login", ["dev1", "nosuch", "dev1.bob"])
async def test_a_refused_key_is_named_with_what_to_do(world: World, login: str) -> None:
    stranger = new_key(world.folder / "stranger")
    fingerprint = asyncssh.read_private_key(str(stranger)).get_fingerprint()
    session = login.partition(".")[0]
    (line,) = _explained(await run(world.ssh("true", login=login, key=stranger)))
    assert line.startswith(f"netvps: session {session} is not open to key {fingerprint}: `netvps key add` registers")


async def test_a_key_without_that_session_gets_the_message_of_an_unknown_key(world: World) -> None:
    stranger = new_key(world.folder / "stranger")
    said = []
    for key in (world.key, stranger):
        (line,) = _explained(await run(world.ssh("true", login="nosuch", key=key)))
        said.append(line.replace(asyncssh.read_private_key(str(key)).get_fingerprint(), "KEY"))
    assert said[0] == said[1]


async def test_what_is_no_session_is_named(world: World) -> None:
    (line,) = _explained(await run(world.ssh("true", login="BAD name")))
    assert line == "netvps: 'BAD name' is no session name: log in as NAME or NAME.OWNER; `netvps ls` lists yours"


async def test_a_long_name_is_cut_or_refused(sshd: Sshd, tmp_path: Path) -> None:
    events: list[AuditEvent] = []
    async with a_world(sshd, tmp_path, audit=events.append) as world:
        (line,) = _explained(await run(world.ssh("true", login="x" * 1000)))
        assert len(line) < 300
        assert b"Username too long" in (await run(world.ssh("true", login="x" * 50_000))).err
        assert world.authorizer.asked == []
        assert (await run(world.ssh("true"))).code == 0
    cut = events[0].bounded()
    assert (cut.action, len(dict(cut.details)["login"])) == ("ssh.refused", TEXT_MAX)


@pytest.mark.parametrize("bits", [1024, 16_384, 400_000])
async def test_an_rsa_key_of_any_size_is_looked_up_and_not_computed_with(
    world: World, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An offer costs its digest: only a registered key verifies a signature, and those have at most 16,384 bits."""

    def verify(*_: object) -> bool:
        raise AssertionError("a signature of a key that is not registered was verified")

    monkeypatch.setattr("asyncssh.rsa.RSAKey.verify_ssh", verify)
    blob = String(b"ssh-rsa") + MPInt(65_537) + MPInt((1 << (bits - 1)) + 1)
    asked = String(b"dev1") + String(b"ssh-connection") + String(b"publickey")

    class Stranger(Client):
        def try_next_auth(self, *, next_method: bool = False) -> None:
            self.send_packet(50, asked + Boolean(True) + String(b"rsa-sha2-256") + String(blob) + String(b"forged"))

    client = await connect(world, Stranger, client_keys=None, password="none")
    with pytest.raises(asyncssh.Error):
        await client._options.waiter  # type: ignore[misc]
    await client.wait_closed()
    assert (await run(world.ssh("true"))).code == 0


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


def test_the_keys_that_preceded_others_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_auth, "_MAX_PRECEDING", 2)
    keys = PrecedingKeys()
    for fingerprints in (["a", "b"], ["a"], ["c"]):
        keys.add(fingerprints)
    assert [fingerprint for fingerprint in "abc" if fingerprint in keys] == ["a", "c"]
