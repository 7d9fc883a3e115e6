from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.ssh_key import PublicKey
from netvps.errors import AlreadyExists, Exhausted, NotFound
from tests.fakes.keys import ed25519
from tests.fakes.world import ALICE, BOB, ROOT

if TYPE_CHECKING:
    from tests.fakes.world import World


async def test_a_key_is_kept_without_its_comment_which_is_its_title(world: World) -> None:
    key = await world.ssh_keys.create(ALICE, PublicKey.parse(f" {ed25519(1)}  alice@laptop\n"))
    assert (key.owner, key.public_key, key.title) == ("alice", ed25519(1), "alice@laptop")
    assert key.fingerprint == PublicKey.parse(ed25519(1)).fingerprint
    assert (await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(2)), title="desk")).title == "desk"


async def test_a_key_belongs_to_one_user_who_is_not_revealed(world: World) -> None:
    await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(1)), title="desk")
    fingerprint = PublicKey.parse(ed25519(1)).fingerprint
    with pytest.raises(AlreadyExists) as caught:
        await world.ssh_keys.create(BOB, PublicKey.parse(ed25519(1)))
    assert str(caught.value) == f"key {fingerprint} is registered already: use another key"
    with pytest.raises(AlreadyExists, match="is registered already, as 'desk'"):
        await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(1)))


async def test_keys_are_listed_by_fingerprint_in_pages(world: World) -> None:
    keys = [await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(number))) for number in range(5)]
    await world.ssh_keys.create(BOB, PublicKey.parse(ed25519(9)))
    first = await world.ssh_keys.list(ALICE, page_size=3)
    rest = await world.ssh_keys.list(ROOT, parent="alice", page_size=3, page_token=first.next_page_token)
    assert [*first.items, *rest.items] == sorted(keys, key=lambda key: key.fingerprint)
    assert rest.next_page_token == ""
    with pytest.raises(NotFound):
        await world.ssh_keys.list(ALICE, parent="bob")


async def test_a_key_is_revoked_by_uid_or_fingerprint_by_its_owner(world: World) -> None:
    one, two = [await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(number))) for number in (1, 2)]
    with pytest.raises(NotFound, match=rf"user bob has no key {one.uid}: see netvps key ls"):
        await world.ssh_keys.delete(BOB, "", one.uid)
    with pytest.raises(NotFound, match="no user alice"):
        await world.ssh_keys.delete(BOB, "alice", one.uid)
    assert await world.ssh_keys.delete(ALICE, "me", one.uid, request_id="r1") == one
    assert await world.ssh_keys.delete(ALICE, "alice", one.uid, request_id="r1") == one
    assert await world.ssh_keys.delete(ROOT, "alice", two.fingerprint) == two
    assert (await world.ssh_keys.list(ALICE)).items == []
    assert (await world.ssh_keys.create(BOB, PublicKey.parse(ed25519(1)))).owner == "bob"


async def test_a_repeated_request_registers_once(world: World) -> None:
    first = await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(1)), request_id="r1")
    assert await world.ssh_keys.create(ALICE, PublicKey.parse(f"{ed25519(1)} comment"), request_id="r1") == first
    with pytest.raises(AlreadyExists, match="with other arguments"):
        await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(2)), request_id="r1")


async def test_the_number_of_keys_is_bounded(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.services.access.ssh_keys.MAX_KEYS", 2)
    for number in (1, 2):
        await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(number)))
    with pytest.raises(Exhausted, match="user alice has 2 keys, which is the limit: remove one first"):
        await world.ssh_keys.create(ALICE, PublicKey.parse(ed25519(3)))
