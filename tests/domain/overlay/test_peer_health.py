from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import inf

from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.domain.overlay.netmap import Netmap, Peer
from netvps.domain.overlay.peer_health import (
    BLOCKED_TIMES,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    SILENT_SECONDS,
    LinkState,
    LinkTable,
    Measured,
    Problem,
    Target,
    link,
    why,
)
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.overlay.view import View
from netvps.domain.runner.runner import Lease, Underlay

FULL = 1450
WELL, SILENT, BLOCKED = Measured(0.01, FULL), Measured(None, 0, alive=False), Measured(None, 0)


def reduced(mtu: int) -> Measured:
    return Measured(0.01, mtu)


def target(number: int = 2, there: str = "") -> Target:
    return Target(
        f"r{number}", f"box{number}", f"10.128.{4 * number}.0", FULL, "192.0.2.1", there or "192.0.2.2", "box1", 14789
    )


FOUND = st.one_of(st.just(WELL), st.just(SILENT), st.just(BLOCKED), st.integers(84, FULL - 1).map(reduced))


@settings(max_examples=200)
@given(
    st.lists(st.tuples(st.integers(2, 4), FOUND, st.floats(0.75, 1.25), st.floats(0, 700)), max_size=30),
    st.dictionaries(st.sampled_from(["r2", "r3", "r9"]), st.integers(84, FULL)),
)
def test_what_is_known_follows_from_the_last_examination(
    examinations: list[tuple[int, Measured, float, float]], earlier: dict[str, int]
) -> None:
    table, now = LinkTable(), 0.0
    table.remember(earlier)
    last: dict[str, Measured] = {}
    mtus = {peer: mtu for peer, mtu in earlier.items() if peer != "r9" and mtu < FULL}
    down_since: dict[str, float] = {}
    failures: Counter[str] = Counter()
    for number in (2, 3, 4):
        table.aim(target(number), 0.0)
    for number, found, jitter, passed in examinations:
        now += passed
        peer, state = f"r{number}", found.state(target())
        before = table.record(target(number), found, now, jitter)
        mtus.pop(peer, None) if state is not LinkState.DOWN else None
        if state is LinkState.REDUCED:
            mtus[peer] = found.mtu
        known = last.get(peer)
        was = known.state(target()) if known else LinkState.REDUCED if earlier.get(peer, 0) > 0 else LinkState.UP
        assert before == (was is not state)
        if state is not LinkState.DOWN:
            down_since.pop(peer, None)
        down_since.setdefault(peer, now) if state is LinkState.DOWN else None
        last[peer] = found
        failures[peer] = 0 if found == WELL else 1 if before else failures[peer] + 1
        assert table.mtus == mtus
        assert set(table.known()) == {peer for peer, seen in last.items() if seen == WELL}
        reported = {
            peer
            for peer, seen in last.items()
            if seen != WELL
            and (
                seen.rtt or (seen.alive and failures[peer] >= BLOCKED_TIMES) or now - down_since[peer] >= SILENT_SECONDS
            )
        }
        problems = table.problems(now)
        assert [problem.peer for problem in problems] == sorted(reported)
        assert all(0 < len(problem.message) <= 500 for problem in problems)


@given(st.lists(FOUND, min_size=1, max_size=20), st.floats(0.75, 1.25))
def test_what_is_not_well_is_examined_less_and_less_often_and_what_is_only_on_doubt(
    found: list[Measured], jitter: float
) -> None:
    table, now, pauses = LinkTable(), 100.0, list[float]()
    table.aim(target(), now)
    for one in found:
        assert table.begin(now, 16) == [target()]
        assert table.begin(now, 16) == []  # being examined
        table.record(target(), one, now, jitter)
        state = one.state(target())
        if state is LinkState.UP:
            assert table.next_due == inf
            pauses.clear()
            table.doubt("r2", now)
            continue
        pauses.append(table.next_due - now)
        assert (
            min(FIRST_PAUSE, LONGEST_PAUSE[state]) * jitter - 1e-6 <= pauses[-1] <= LONGEST_PAUSE[state] * jitter + 1e-6
        )
        now = table.next_due


def test_the_longest_due_come_first_and_no_more_than_wanted() -> None:
    table = LinkTable()
    for number, due in ((2, 3.0), (3, 1.0), (4, 2.0), (5, 9.0)):
        table.aim(target(number), due)
    assert table.begin(5.0, 2) == [target(3), target(4)]
    assert table.begin(5.0, 0) == []
    assert table.begin(5.0, 2) == [target(2)]
    assert table.next_due == 9.0
    table.doubt("r5", 6.0)
    table.doubt("r5", 8.0)
    table.doubt("nobody", 6.0)
    assert table.next_due == 6.0


def test_a_link_that_leads_elsewhere_is_another() -> None:
    table = LinkTable()
    table.aim(target(), 0.0)
    table.record(target(), reduced(1300), 1.0)
    table.aim(target(), 5.0)  # the same: nothing is new
    assert (table.mtus, table.next_due) == ({"r2": 1300}, 4.0)
    moved = target(there="192.0.2.9")
    table.aim(moved, 5.0)
    assert (table.mtus, table.next_due, table.target("r2")) == ({}, 5.0, moved)
    assert not table.record(target(), BLOCKED, 6.0)  # an examination that began before
    assert table.problems(6.0) == []
    table.forget("r2")
    table.forget("r2")
    assert (table.target("r2"), table.next_due, table.record(moved, BLOCKED, 7.0)) == (None, inf, False)


def test_a_machine_that_is_started_again_is_no_problem_but_one_that_stays_away() -> None:
    table = LinkTable()
    table.aim(target(), 0.0)
    table.record(target(), SILENT, 10.0)
    assert table.problems(10.0 + SILENT_SECONDS - 1) == []
    table.record(target(), SILENT, 10.0 + SILENT_SECONDS)
    assert table.problems(10.0 + SILENT_SECONDS) == [Problem(why(target(), SILENT), "r2")]
    table.record(target(), WELL, 200.0)
    assert table.problems(900.0) == []


def test_people_learn_who_what_and_what_to_do() -> None:
    assert why(target(), WELL) == ""
    assert link(target(), WELL).rtt == 0.01
    for part in ("box1 (192.0.2.1)", "box2 (192.0.2.2)", "more than 1350 bytes", "1300 of its 1450", "1500 bytes"):
        assert part in why(target(), reduced(1300))
    assert "more than 1370 bytes" in why(target(there="2001:db8::2"), reduced(1300))
    assert "let UDP port 14789 through" in why(target(), BLOCKED)
    assert "box2 (192.0.2.2) does not answer box1 (192.0.2.1)" in why(target(), SILENT)
    down = link(target(), SILENT)
    assert (down.peer, down.state, down.rtt, down.mtu, down.message) == (
        "r2", LinkState.DOWN, None, 0, why(target(), SILENT),
    )  # fmt: skip


def test_a_target_is_the_peer_by_its_address_of_our_kind() -> None:
    peer = Peer("r2", "box2", Lease("10.128.8.0/22", "r2", 1), "mac", Underlay(("2001:db8::2", "192.0.2.2"), 1400))
    view = View("r1", OverlaySettings("c"), Lease("10.128.4.0/22", "r1", 1), Underlay(("192.0.2.1",), FULL), Netmap())
    assert view.target(peer, "box1") == replace(target(), mtu=1400)
    assert view.target(replace(peer, underlay=Underlay(("2001:db8::2",), 1400)), "box1") is None
