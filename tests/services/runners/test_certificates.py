from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.domain.runner.runner import Runner
from netvps.domain.session.lifecycle import place
from netvps.errors import InvalidInput, Unauthenticated
from netvps.services.runners.certificates import Certificates
from tests.fakes.counting import CountingStore
from tests.fakes.world import ALICE

if TYPE_CHECKING:
    from netvps.domain.session.session import Session
    from tests.fakes.world import World


async def _boot(world: World) -> tuple[Session, str]:
    if not await world.rows(Runner):
        await world.runner()
    session = await world.session()
    return session, await world.runners.boot_token(session.runner, session.uid, session.epoch)


async def test_an_agent_gets_the_identity_of_its_placement(world: World) -> None:
    session, token = await _boot(world)
    certificate = await world.certificates.boot_agent(token, "csr:k1")
    assert certificate == f"k1 is netvps://session/{session.uid}/epoch/1"
    assert await world.certificates.boot_agent(token, "csr:k1") == certificate
    with pytest.raises(Unauthenticated, match="this boot token was used with another key: restart the session"):
        await world.certificates.boot_agent(token, "csr:k2")


async def test_a_boot_token_lasts_an_hour(world: World) -> None:
    _, token = await _boot(world)
    world.clock.advance(hours=1)
    with pytest.raises(Unauthenticated, match="is unknown or has expired: restart the session"):
        await world.certificates.boot_agent(token, "csr:k1")


async def test_a_foreign_boot_token_is_refused(world: World) -> None:
    _, token = await _boot(world)
    for wrong in ("", "nvb_x", token[:-1], token[:-64] + "0" * 64, "nvb_" + "0" * 12 + token[16:]):
        with pytest.raises(Unauthenticated):
            await world.certificates.boot_agent(wrong, "csr:k1")
    with pytest.raises(InvalidInput):
        await world.certificates.boot_agent(token, "nonsense")


async def test_a_boot_token_of_an_earlier_placement_is_refused(world: World) -> None:
    session, token = await _boot(world)
    runner = await world.runner("lab2")
    async with world.store.write("test") as tx:
        await tx.put(place(session, runner, world.clock()))
    with pytest.raises(Unauthenticated, match="epoch 1 is over"):
        await world.certificates.boot_agent(token, "csr:k1")


async def test_identities_that_stand_for_something_are_renewed(world: World) -> None:
    session, _ = await _boot(world)
    for uri in (f"netvps://runner/{session.runner}", f"netvps://session/{session.uid}/epoch/1"):
        certificate, expires = await world.certificates.renew(uri, "csr:k2")
        assert certificate == f"k2 is {uri}"
        assert expires > world.clock.now


async def test_identities_that_stand_for_nothing_are_not(world: World) -> None:
    session = await world.session()
    for uri in (
        f"netvps://runner/{'0' * 13}",
        f"netvps://session/{'0' * 13}/epoch/1",
        f"netvps://session/{session.uid}/epoch/2",
        "netvps://user/root",
        "",
    ):
        with pytest.raises(Unauthenticated):
            await world.certificates.renew(uri, "csr:k2")
    await world.sessions.delete(ALICE, "dev1")
    with pytest.raises(Unauthenticated, match="was removed, or is placed elsewhere"):
        await world.certificates.renew(f"netvps://session/{session.uid}/epoch/1", "csr:k2")


async def test_a_wrong_boot_token_costs_one_read_and_no_write(world: World) -> None:
    _, token = await _boot(world)
    store = CountingStore(world.store)
    certificates = Certificates(store, world.clock, world.ca)
    for wrong in (token[:-64] + "0" * 64, "nvb_" + "0" * 12 + token[16:]):
        with pytest.raises(Unauthenticated):
            await certificates.boot_agent(wrong, "nonsense")  # which is not read before the token is known
    assert (store.reads, store.writes) == (2, 0)
    await certificates.boot_agent(token, "csr:k1")
    assert store.writes == 1
