"""Links measured by runners over real streams, for real clients: the test of netvps.rpc.servicers.network, too."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from netvps.domain.finding import Severity
from netvps.domain.overlay.path import PathState
from netvps.domain.overlay.peer_health import Link, LinkState, ProbeReport, ProbeRequest
from netvps.domain.runner.runner import Heartbeat, Underlay
from netvps.errors import InvalidInput, NotFound, Unavailable
from netvps.rpc.server.runners import probes as limits
from netvps.rpc.server.runners.probes import StreamedProbes
from tests.rpc.servicers.test_link import Process, process
from tests.rpc.site import ALICE, CAPACITY, default_spec, hello, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.overlay.path import Path
    from netvps.rpc.client.client import Client
    from tests.rpc.site import Site


@asynccontextmanager
async def lab(site: Site) -> AsyncIterator[tuple[Process, Process]]:
    """Two runners on the overlay."""
    machines = [await site.join(name) for name in ("lab1", "lab2")]
    async with process(site, machines[0]) as one, process(site, machines[1]) as two:
        for number, runner in enumerate((one, two), 1):
            await runner.caught_up()
            await runner.says.put(Heartbeat(CAPACITY, Underlay((f"192.0.2.{number}",), 1450)))
        await soon(lambda: len(site.services.netmap.netmap.peers) == 2)
        yield one, two


async def asked(runner: Process, count: int = 1) -> ProbeRequest:
    """The last of so many requests."""

    def requests() -> list[ProbeRequest]:
        return [message for message in runner.heard if isinstance(message, ProbeRequest)]

    await soon(lambda: len(requests()) >= count)
    return requests()[count - 1]


async def answer(runner: Process, *states: LinkState) -> None:
    request = await asked(runner)
    links = [Link(peer, state, 0.001, 1450) for peer, state in zip(request.peers, states, strict=True)]
    await runner.says.put(ProbeReport(request.probe_id, tuple(links)))


def probes(site: Site) -> StreamedProbes:
    return site.server._probes


async def test_links_come_from_the_runners(site: Site) -> None:
    async with lab(site) as (one, two), asyncio.TaskGroup() as group:
        seen = group.create_task(site.do(lambda client: list(client.probe_links())))
        await answer(one, LinkState.UP)
        await answer(two, LinkState.REDUCED)
        paths = {path.start: path for path in await seen}
        up, reduced = paths["lab1"], paths["lab2"]
        assert (up.end, up.state, up.rtt, up.mtu, up.expected_mtu) == ("lab2", PathState.UP, 0.001, 1450, 1450)
        assert (reduced.state, reduced.start_address, reduced.end_address) == (
            PathState.REDUCED, "192.0.2.2", "192.0.2.1",
        )  # fmt: skip
    assert probes(site)._waiting == {}
    assert probes(site)._asked == {}


async def test_the_overlay_is_shown_to_every_user(site: Site) -> None:
    async with lab(site):
        seen = await site.do(lambda client: client.get_network(), await site.remote("alice"))
        assert (seen.overlay_settings.pool, seen.overlay_settings.port, seen.prefix) == ("10.128.0.0/10", 14789, 22)
        assert (seen.runners_on, seen.runners_off, seen.subnets_used, seen.subnets_free) == (2, 0, 2, 4094)
        assert seen.generation == site.services.netmap.netmap.generation


async def test_a_check_is_for_who_sees_the_sessions(site: Site) -> None:
    alice, bob = await site.remote("alice"), await site.remote("bob")
    async with lab(site) as (one, two), asyncio.TaskGroup() as group:
        await site.do(lambda client: client.create_session("web", default_spec()), alice)
        checked = group.create_task(site.do(lambda client: client.check_network(["web"]), alice))
        for runner in (one, two):
            await answer(runner, LinkState.DOWN)
        (session, link, *_) = await checked
        assert (session.severity, session.subject) == (Severity.FAIL, "session web.alice")
        assert (link.severity, link.subject) == (Severity.FAIL, "lab1 - lab2")
        with pytest.raises(NotFound):
            await site.do(lambda client: client.check_network(["web.alice"]), bob)


async def test_what_is_named_wrongly_is_said_at_the_door(site: Site) -> None:
    for names, field in ((["Lab 1"], r"runners\[0\]"), (["lab1", "x y"], r"runners\[1\]")):
        with pytest.raises(InvalidInput, match=field):
            await site.do(lambda client, names=names: list(client.probe_links(names)))  # type: ignore[misc]
    with pytest.raises(InvalidInput, match=r"sessions\[1\]"):
        await site.do(lambda client: client.check_network(["web", "No Name"]))
    with pytest.raises(NotFound, match="no runner lab9"):
        await site.do(lambda client: list(client.probe_links(["lab9"])))


async def test_one_that_does_not_answer_is_named_and_the_rest_is_reported(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "ANSWER_TIMEOUT", 0.3)
    async with lab(site) as (one, _), asyncio.TaskGroup() as group:
        seen = group.create_task(site.do(lambda client: list(client.probe_links(["lab1", "lab2"]))))
        await answer(one, LinkState.UP)
        states = {path.start: path for path in await seen}
        assert states["lab1"].state is PathState.UP
        assert states["lab2"].state is PathState.UNKNOWN
        assert "lab2: the runner did not answer" in states["lab2"].message
        assert "upgrade it" in states["lab2"].message


async def test_one_that_is_not_connected_is_named(site: Site) -> None:
    machine = await site.join()
    await site.services.runners.online(machine.uid, replace(hello(), underlay=Underlay(("192.0.2.1",), 1450)))
    with pytest.raises(Unavailable, match="the runner is not connected: try again when"):
        await probes(site).probe(machine.uid, ("peer",))
    assert probes(site)._waiting == {}


async def test_an_answer_counts_once_from_the_runner_that_was_asked(site: Site) -> None:
    async with lab(site) as (one, two), asyncio.TaskGroup() as group:
        uid = await uid_of(site, "lab1")
        links = group.create_task(probes(site).probe(uid, ("peer",)))
        request = await asked(one)
        forged = ProbeReport(request.probe_id, (Link("peer", LinkState.DOWN),))
        await two.says.put(forged)
        await one.says.put(ProbeReport("another", ()))
        true = ProbeReport(request.probe_id, (Link("peer", LinkState.UP, 0.001, 1450),))
        await one.says.put(true)
        assert await links == true.links
        await one.says.put(forged)  # late: no call waits, and the stream goes on
        await two.says.put(Heartbeat(CAPACITY))
        again = group.create_task(probes(site).probe(uid, ()))
        assert (await asked(one, 2)).probe_id != request.probe_id
        again.cancel()


async def test_what_is_under_way_is_bounded_and_who_gives_up_leaves_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with lab(site) as (one, two), asyncio.TaskGroup() as group:
        first, second = [await uid_of(site, name) for name in ("lab1", "lab2")]
        waiting = [group.create_task(probes(site).probe(first, ())) for _ in range(limits.MAX_OF_A_RUNNER)]
        await asked(one, limits.MAX_OF_A_RUNNER)
        with pytest.raises(Unavailable, match="busy with other measurements"):
            await probes(site).probe(first, ())
        monkeypatch.setattr(limits, "MAX_AT_ONCE", limits.MAX_OF_A_RUNNER)
        with pytest.raises(Unavailable, match="too many links"):
            await probes(site).probe(second, ())
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting)
        assert (probes(site)._waiting, probes(site)._asked) == ({}, {})
        assert not [message for message in two.heard if isinstance(message, ProbeRequest)]


async def test_a_client_that_goes_away_leaves_nothing(site: Site) -> None:
    def first(client: Client) -> Path:
        return next(client.probe_links(["lab1", "lab2"]))

    async with lab(site) as (one, two), asyncio.TaskGroup() as group:
        seen = group.create_task(site.do(first))
        await asked(two)
        await answer(one, LinkState.UP)
        assert (await seen).start == "lab1"
        await soon(lambda: not probes(site)._waiting and not probes(site)._asked)


async def uid_of(site: Site, name: str) -> str:
    return (await site.services.runners.get(ALICE, name)).runner.uid
