"""What a client learns about keys that are refused."""

from __future__ import annotations

import asyncssh
import pytest

from netvps.gateway.ssh import client_auth
from netvps.gateway.ssh.client_auth import PrecedingKeys
from tests.gateway.conftest import Ran, World, new_key, run


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
