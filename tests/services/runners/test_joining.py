from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.accounts import Credential
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.runner.runner import Lease, Runner
from netvps.errors import Exhausted, InvalidInput, Unauthenticated
from netvps.services.runners.joining import Joining
from netvps.services.runners.runners import Runners
from netvps.services.sessions.progress import Progress
from tests.fakes.counting import CountingStore
from tests.fakes.world import ROOT, SETTINGS

if TYPE_CHECKING:
    from tests.fakes.world import World

REMEDY = "make a new one: netvps runner join-token"


async def _token(world: World) -> str:
    return (await world.runners.create_join_token(ROOT))[0]


async def test_a_machine_gets_an_identity_a_name_and_a_subnet(world: World) -> None:
    joined = await world.joining.join(await _token(world), "csr:k1", "lab1")
    assert joined.runner.name == "lab1"
    assert joined.certificate == f"k1 is netvps://runner/{joined.runner.uid}"
    (lease,) = await world.rows(Lease)
    assert (lease.cidr, lease.runner, lease.epoch) == ("10.128.0.0/22", joined.runner.uid, lease.revision)


async def test_the_same_token_and_key_again_are_the_same_runner(world: World) -> None:
    token = await _token(world)
    first = await world.joining.join(token, "csr:k1", "lab1")
    assert await world.joining.join(token, "csr:k1", "other") == first
    assert len(await world.rows(Runner)) == len(await world.rows(Lease)) == 1


async def test_a_machine_that_did_not_hear_it_joined_is_the_same_with_a_fresh_token(world: World) -> None:
    first = await world.joining.join(await _token(world), "csr:k1", "lab1")
    assert await world.joining.join(await _token(world), "csr:k1", "lab1") == first
    assert len(await world.rows(Runner)) == len(await world.rows(Lease)) == 1


async def test_a_machine_that_was_away_for_months_is_the_same_with_a_fresh_token(world: World) -> None:
    first = await world.joining.join(await _token(world), "csr:k1", "lab1")
    world.clock.advance(days=100)
    await _token(world)  # tokens that expired go at such a time
    assert (await world.joining.join(await _token(world), "csr:k1", "lab1")).runner.uid == first.runner.uid
    assert len(await world.rows(Runner)) == len(await world.rows(Lease)) == 1


async def test_tokens_that_were_not_used_in_time_are_removed(world: World) -> None:
    for _ in range(3):
        await _token(world)
    world.clock.advance(hours=2)
    await _token(world)
    assert len(await world.rows(Credential, purpose="join")) == 1


async def test_two_machines_with_one_token_at_once_are_one_runner(world: World) -> None:
    token = await _token(world)
    answers = await asyncio.gather(
        *(world.joining.join(token, f"csr:k{number}", "lab1") for number in range(3)), return_exceptions=True
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Joined", "Unauthenticated", "Unauthenticated"]
    assert len(await world.rows(Runner)) == 1


async def test_names_and_subnets_are_given_once(world: World) -> None:
    long = "x" * 63
    for number, name in enumerate(("lab1", "lab1", "lab1", long, long)):
        await world.joining.join(await _token(world), f"csr:k{number}", name)
    assert {runner.name for runner in await world.rows(Runner)} == {"lab1", "lab1-2", "lab1-3", long, "x" * 61 + "-2"}
    assert [lease.cidr for lease in await world.rows(Lease)] == [f"10.128.{third}.0/22" for third in (0, 12, 16, 4, 8)]


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda _: "", "this is not a complete join token (nvj_…): copy it again, or"),
        (lambda token: token[:-1], "this is not a complete join token (nvj_…): copy it again, or"),
        (lambda token: token.replace("nvj_", "nv_"), "this is not a complete join token (nvj_…): copy it again, or"),
        (lambda token: token[:-64] + "0" * 64, "this join token is for another control plane: on this one,"),
        (lambda token: "nvj_" + "0" * 12 + token[16:], "this join token is not known here:"),
        (lambda token: token[:17] + "0" * 64 + token[81:], "this join token is not known here:"),
    ],
)
async def test_a_wrong_token_gets_one_sentence_and_the_remedy(world: World, damage: object, sentence: str) -> None:
    assert callable(damage)
    with pytest.raises(Unauthenticated) as caught:
        await world.joining.join(damage(await _token(world)), "csr:k1", "lab1")
    assert str(caught.value) == f"{sentence} {REMEDY}"
    assert await world.rows(Runner) == []


async def test_a_token_works_for_an_hour_and_for_one_key(world: World) -> None:
    token = await _token(world)
    await world.joining.join(token, "csr:k1", "lab1")
    with pytest.raises(Unauthenticated, match=f"was used by another machine, and works only once: {REMEDY}"):
        await world.joining.join(token, "csr:k2", "lab2")
    world.clock.advance(hours=1)
    with pytest.raises(Unauthenticated, match=rf"has expired \(they last an hour\): {REMEDY}"):
        await world.joining.join(token, "csr:k1", "lab1")


async def test_a_token_of_a_runner_that_was_removed_is_used_up(world: World) -> None:
    token = await _token(world)
    joined = await world.joining.join(token, "csr:k1", "lab1")
    async with world.store.write("test") as tx:
        await tx.delete(joined.runner)
    with pytest.raises(Unauthenticated, match=f"was used for was removed: {REMEDY}"):
        await world.joining.join(token, "csr:k1", "lab1")


async def test_a_bad_name_and_a_bad_request_are_reported_together(world: World) -> None:
    with pytest.raises(InvalidInput) as caught:
        await world.joining.join(await _token(world), "nonsense", "Lab 1")
    assert [violation.field for violation in caught.value.violations] == ["runner_id", "csr"]


async def test_a_pool_that_is_used_up_leaves_nothing_behind(world: World) -> None:
    tiny = OverlaySettings("cluster", "10.128.0.0/22")
    small = Joining(world.store, world.clock, lambda: "0" * 13, world.ca, tiny, 22)
    await small.join(await _token(world), "csr:k1", "lab1")
    token = await _token(world)
    before = await world.revision()
    with pytest.raises(Exhausted, match="no /22 is left in the overlay's pool"):
        await Joining(world.store, world.clock, lambda: "1" * 13, world.ca, tiny, 22).join(token, "csr:k2", "lab2")
    assert await world.revision() == before


async def test_a_wrong_join_token_costs_one_read_and_no_write(world: World) -> None:
    token = await _token(world)
    store = CountingStore(world.store)
    joining = Joining(store, world.clock, world.new_uid, world.ca, SETTINGS, 22)
    for wrong in ("nvj_" + "0" * 12 + token[16:], token[:17] + "0" * 64 + token[81:]):
        with pytest.raises(Unauthenticated):
            await joining.join(wrong, "nonsense", "Lab 1")  # neither is looked at before the token is known
    assert (store.reads, store.writes) == (2, 0)


@pytest.mark.parametrize("joined", [3, 30])
async def test_a_join_costs_the_same_however_many_joined_before(world: World, joined: int) -> None:
    for number in range(joined):
        await world.joining.join(await _token(world), f"csr:k{number}", f"lab{number}")
    store = CountingStore(world.store)
    world.runners = Runners(
        store, world.clock, world.ca, progress=Progress(store, world.feed), overlay_settings=SETTINGS
    )
    world.joining = Joining(store, world.clock, world.new_uid, world.ca, SETTINGS, 22)
    world.clock.advance(hours=2)
    token = await _token(world)
    assert (store.reads, store.rows) == (1, 0)
    first = await world.joining.join(token, "csr:new", "new")
    assert first.runner.name == "new"
    assert (store.reads - 1, store.rows - joined) == (5, 2)  # except the subnets, among which a free one is found
    again = await world.joining.join(await _token(world), "csr:new", "new")
    assert again.runner.uid == first.runner.uid


async def test_of_a_machines_tokens_the_expired_go_when_it_joins_again(world: World) -> None:
    for _ in range(4):
        await world.joining.join(await _token(world), "csr:k1", "lab1")
        world.clock.advance(hours=2)
    assert len(await world.rows(Credential, purpose="join")) == 1


async def test_a_runners_join_tokens_go_with_it(world: World) -> None:
    await world.joining.join(await _token(world), "csr:k1", "lab1")
    await world.runners.remove(ROOT, "lab1")
    assert await world.rows(Credential, purpose="join") == []
