"""`netvps network peers`: netvps/cli/machine/network_peers.py."""

from __future__ import annotations

import json
from itertools import permutations

from netvps.domain.overlay.path import Path, PathState
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient


def path(start: int, end: int, state: PathState = PathState.UP, message: str = "") -> Path:
    back = state in {PathState.UP, PathState.REDUCED}
    mtu = {PathState.UP: 1450, PathState.REDUCED: 1400}.get(state, 0)
    addresses = (f"192.0.2.{start}", f"192.0.2.{end}")
    return Path(f"box{start}", f"box{end}", state, 0.0004 if back else None, mtu, 1450, *addresses, message)


def test_a_few_are_a_matrix_with_what_is_wrong_below(run: Run, fake: FakeClient) -> None:
    offline = "box3 is offline"
    fake.paths = [
        path(2, 1, PathState.REDUCED, "packets of more than 1400 bytes get lost"),
        path(1, 2),
        path(1, 3, PathState.DOWN, "no answer"),
        path(2, 3),
        path(3, 1, PathState.UNKNOWN, offline),
        path(3, 2, PathState.UNKNOWN, offline),
    ]
    ran = run("network", "peers")
    assert ran.code == 0
    assert ran.out.splitlines() == [
        "FROM \\ TO  box1            box2     box3",
        "box1       -               0.4 ms   DOWN",
        "box2       REDUCED 0.4 ms  -        0.4 ms",
        "box3       UNKNOWN         UNKNOWN  -",
        "",
        "no answer",
        "packets of more than 1400 bytes get lost",
        "box3 is offline",
    ]


def test_wide_and_many_are_pair_by_pair(run: Run, fake: FakeClient) -> None:
    fake.paths = [path(1, 2), path(2, 1, PathState.REDUCED)]
    assert run("network", "peers", "box1", "box2", "-o", "wide").out.splitlines() == [
        "FROM  TO    STATE    RTT     MTU           PATH",
        "box1  box2  UP       0.4 ms  1450          192.0.2.1 to 192.0.2.2",
        "box2  box1  REDUCED  0.4 ms  1400 of 1450  192.0.2.2 to 192.0.2.1",
    ]
    assert fake.asked == [("probe_links", ("box1", "box2"))]
    fake.paths = [path(start, end) for start, end in permutations(range(1, 10), 2)]
    assert len(run("network", "peers").out.splitlines()) == 73


def test_programs_get_the_protos_form(run: Run, fake: FakeClient) -> None:
    fake.paths = [path(1, 2, PathState.DOWN)]
    (shown,) = json.loads(run("network", "peers", "-o", "json").out)
    assert (shown["fromRunner"], shown["state"], shown["expectedMtu"]) == (
        "runners/box1",
        "NETWORK_LINK_STATE_DOWN",
        1450,
    )
    assert run("network", "peers", "-o", "name").out == "box1 box2\n"


def test_one_runner_has_no_peers(run: Run, fake: FakeClient) -> None:
    assert fake.paths == []
    ran = run("network", "peers")
    assert (ran.code, ran.out) == (0, "")
    assert "no two runners" in ran.err
