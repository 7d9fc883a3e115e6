"""The overlay for people: overview, live links, and the diagnosis of why sessions do not reach each other."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

from netvps.domain.access.sharing import Right
from netvps.domain.checks import Checks
from netvps.domain.names import SessionName
from netvps.domain.overlay.diagnosis import DiagnosisInput, diagnose
from netvps.domain.overlay.path import measured, pairs, unknown, why_unable
from netvps.domain.overlay.settings import Overview
from netvps.domain.runner.ipam import room
from netvps.domain.runner.runner import Lease, Runner
from netvps.errors import NetvpsError
from netvps.services.page import read_all
from netvps.services.runners.leases import lease_of
from netvps.services.sessions.removal import runner_named
from netvps.services.sessions.scope import find_session
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from netvps.domain.access.accounts import Caller
    from netvps.domain.finding import Finding
    from netvps.domain.overlay.path import Path
    from netvps.domain.overlay.peer_health import Link
    from netvps.domain.overlay.settings import OverlaySettings
    from netvps.domain.session.session import Session
    from netvps.services.network.netmap import NetmapHub
    from netvps.services.ports import Prober, Reader, Store

MAX_ALL: Final = 16
"""Maximum number of runners for measuring all links, if none are named."""
MAX_NAMED: Final = 64
_MAX_SESSIONS: Final = 2


class Network:
    """Available to every user; sessions are shown only to users who may see them."""

    def __init__(self, store: Store, netmap: NetmapHub, overlay_settings: OverlaySettings, prefix: int) -> None:
        """`prefix` is the prefix length of the runners' subnets."""
        self._store = store
        self._netmap = netmap
        self._overlay_settings = overlay_settings
        self._prefix = prefix

    async def overview(self) -> Overview:
        """A summary of the overlay."""
        netmap = self._netmap.netmap
        async with self._store.read() as reader:
            runners = sum(count for (count,) in (await reader.tally(Runner, "state")).values())
            used, free = await self._subnets(reader)
        return Overview(
            overlay_settings=self._overlay_settings,
            prefix=self._prefix,
            generation=netmap.generation,
            runners_on=len(netmap.peers),
            runners_off=max(runners - len(netmap.peers), 0),  # the netmap may lag slightly behind
            subnets_used=used,
            subnets_free=free,
            sessions=len(netmap.endpoints),
        )

    async def links(self, names: Sequence[str], prober: Prober) -> AsyncGenerator[Path, None]:
        """Measures links now: all, those of one runner with all others, or those between several.

        Raises InvalidInput if that is too many, NotFound for an unknown runner.
        """
        _require_few(names)
        async with self._store.read() as reader:
            if len(names) > 1:
                runners = [await runner_named(reader, name) for name in dict.fromkeys(names)]
                centre = None
            else:
                centre = await runner_named(reader, names[0]) if names else None
                runners = await read_all(reader, Runner)
        _require_measurable(runners, MAX_NAMED if names else MAX_ALL)
        async with aclosing(_paths(pairs(runners, centre), prober)) as paths:
            async for path in paths:
                yield path

    async def check(self, caller: Caller, names: Sequence[str], prober: Prober) -> list[Finding]:
        """Diagnoses why two sessions do not reach each other, why one reaches no other, or the whole overlay.

        Raises InvalidInput, and NotFound for a session that does not exist or is not visible to the caller.
        """
        wanted = _parse(names, caller)
        async with self._store.read() as reader:
            sessions = [await find_session(reader, caller, name, Right.INSPECT) for name in wanted]
            runners = await read_all(reader, Runner)
            leases = [await lease_of(reader, session.runner) for session in sessions]
            used, free = (0, 1) if sessions else await self._subnets(reader)
        chosen, unmeasured = _to_measure(sessions, runners)
        return diagnose(
            DiagnosisInput(
                port=self._overlay_settings.port,
                runners=runners,
                paths=[path async for path in _paths(chosen, prober)],
                sessions=sessions,
                subnets={lease.runner: lease.cidr for lease in leases if lease},
                subnets_used=used,
                subnets_free=free,
                unmeasured=unmeasured,
            )
        )

    async def _subnets(self, reader: Reader) -> tuple[int, int]:
        """Number of leased and of free subnets."""
        taken = [lease.cidr for lease in await read_all(reader, Lease)]
        return len(taken), await asyncio.to_thread(room, self._overlay_settings.pool, self._prefix, taken)


def _require_few(names: Sequence[str]) -> None:
    checks = Checks()
    checks.require(len(names) <= MAX_NAMED, "runners", f"{len(names)} are more than {MAX_NAMED}")
    checks.done()


def _require_measurable(runners: Sequence[Runner], limit: int) -> None:
    checks = Checks()
    few = f"there are {len(runners)}, and links between at most {limit} are measured at once: name some of them"
    checks.require(len(runners) <= limit, "runners", few)
    checks.done()


def _parse(names: Sequence[str], caller: Caller) -> list[SessionName]:
    checks = Checks()
    checks.require(len(names) <= _MAX_SESSIONS, "sessions", f"{len(names)} are more than {_MAX_SESSIONS}")
    checks.done()
    parsed = [SessionName.parse(name, caller.user) for name in names]
    checks.require(len(set(parsed)) == len(parsed), "sessions", "both are the same: name two, or one")
    checks.done()
    return parsed


def _to_measure(sessions: Sequence[Session], runners: Sequence[Runner]) -> tuple[Iterable[tuple[Runner, Runner]], str]:
    """The pairs to measure, and, if links should be measured but are not, why."""
    able = [runner for runner in runners if runner.underlay]
    placed = {session.runner for session in sessions}
    if len(sessions) > 1:
        return pairs([runner for runner in able if runner.uid in placed]), ""
    centre = next((runner for runner in able if runner.uid in placed), None)
    if sessions and centre is None:
        return (), ""
    if len(able) > MAX_ALL:
        few = f"not measured: {len(able)} runners are more than {MAX_ALL}"
        return (), f"{few}; name two sessions, or see netvps network peers RUNNER…"
    return pairs(able, centre), ""


async def _paths(chosen: Iterable[tuple[Runner, Runner]], prober: Prober) -> AsyncGenerator[Path, None]:
    """Yields each path as its runner finishes; all runners measure concurrently."""
    ends: defaultdict[str, list[Runner]] = defaultdict(list)
    starts: dict[str, Runner] = {}
    for start, end in chosen:
        starts[start.uid] = start
        ends[start.uid].append(end)
    async with Tasks() as tasks:
        under_way = [
            tasks.start(_from(starts[uid], ends[uid], prober), name=f"links of {starts[uid].name}") for uid in starts
        ]
        for done in asyncio.as_completed(under_way):
            for path in await done:
                yield path


async def _from(start: Runner, ends: Sequence[Runner], prober: Prober) -> list[Path]:
    """The paths from one runner. They are unknown if it cannot measure or does not answer."""
    able = tuple(end.uid for end in ends if end.underlay)
    if why := why_unable(start):
        return [unknown(start, end, why) for end in ends]
    try:
        found = {link.peer: link for link in await prober.probe(start.uid, able)} if able else {}
    except NetvpsError as error:
        return [unknown(start, end, f"{start.name}: {error.message}") for end in ends]
    return [_path(start, end, found.get(end.uid)) for end in ends]


def _path(start: Runner, end: Runner, link: Link | None) -> Path:
    if link is not None:
        return measured(start, end, link)
    if end.underlay is None:
        return unknown(start, end, why_unable(end))
    return unknown(start, end, f"{start.name} did not measure it: it does not know {end.name} yet, or is busy")
