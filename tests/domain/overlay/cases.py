"""Runners, paths and sessions as the verdict's tests need them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import permutations
from typing import Any

from netvps.domain.overlay.path import Path, measured
from netvps.domain.overlay.peer_health import Link, LinkState
from netvps.domain.runner.runner import Runner, RunnerState, Underlay
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def runner(number: int, **changes: Any) -> Runner:
    """Online, on the overlay, at 192.0.2.NUMBER."""
    underlay = Underlay((f"192.0.2.{number}",), 1450)
    made = Runner(f"uid{number}", f"box{number}", NOW, NOW, RunnerState.ONLINE, underlay=underlay)
    return replace(made, **changes)


def subnet(number: int) -> str:
    return f"10.128.{4 * number}.0/22"


def session(name: str, number: int, **changes: Any) -> Session:
    """Ann's, running on that runner, with an address."""
    made = Session(
        uid=f"uid-{name}",
        name=name,
        owner="ann",
        spec=SessionSpec(image="debian:12"),
        desired=DesiredState.RUNNING,
        generation=1,
        create_time=NOW,
        update_time=NOW,
        state=SessionState.RUNNING,
        runner=f"uid{number}",
        runner_name=f"box{number}",
        overlay_address=f"10.128.{4 * number}.9",
    )
    return replace(made, **changes)


def link(end: Runner, state: LinkState = LinkState.UP, mtu: int = 1450) -> Link:
    return Link(end.uid, state, None if state is LinkState.DOWN else 0.0004, 0 if state is LinkState.DOWN else mtu)


def mesh(runners: Iterable[Runner], **states: LinkState) -> list[Path]:
    """All paths between runners; `box1_box2` is how the one from box1 is, where it is not UP."""
    return [
        measured(start, end, link(end, state, 1400 if state is LinkState.REDUCED else 1450))
        for start, end in permutations(runners, 2)
        for state in [states.get(f"{start.name}_{end.name}", LinkState.UP)]
    ]
