from __future__ import annotations

from netvps.domain.overlay.diagnosis.health import Link, LinkState, Problem
from netvps.domain.overlay.diagnosis.path import Path, PathState, measured, pairs, rtt_words, unknown, why_unable
from netvps.domain.runner.runner import RunnerState, Underlay
from tests.domain.overlay.cases import runner


def test_a_path_is_what_was_measured_between_addresses_of_one_kind() -> None:
    one = runner(1, underlay=Underlay(("2001:db8::1", "192.0.2.1"), 8930))
    two = runner(2, underlay=Underlay(("192.0.2.2", "2001:db8::2"), 1430))
    assert measured(one, two, Link(two.uid, LinkState.REDUCED, 0.001, 1380, "a black hole")) == Path(
        "box1", "box2", PathState.REDUCED, 0.001, 1380, 1430, "2001:db8::1", "2001:db8::2", "a black hole"
    )
    assert measured(two, one, Link(one.uid, LinkState.DOWN)).end_address == "192.0.2.1"
    assert (
        measured(runner(3), runner(4, underlay=Underlay(("2001:db8::4",), 1430)), Link("", LinkState.DOWN)).end_address
        == ""
    )


def test_what_is_not_measured_has_a_reason_and_no_size_where_there_is_no_overlay() -> None:
    off = runner(2, underlay=None)
    assert unknown(runner(1), off, "why") == Path("box1", "box2", PathState.UNKNOWN, None, 0, 0, "192.0.2.1", "", "why")


def test_who_need_not_be_asked() -> None:
    assert why_unable(runner(1)) == ""
    assert why_unable(runner(1, state=RunnerState.OFFLINE)) == "box1 is offline"
    assert "overlay = false" in why_unable(runner(1, underlay=None))
    told = runner(1, underlay=None, problems=(Problem("no right to"), Problem("a link", "uid2")))
    assert why_unable(told) == "box1 has no overlay: no right to"


def test_pairs_are_all_or_those_of_one() -> None:
    runners = [runner(number) for number in range(1, 4)]
    assert len(set(pairs(runners))) == 6
    assert [(start.name, end.name) for start, end in pairs(runners, runners[1])] == [
        ("box1", "box2"),
        ("box2", "box1"),
        ("box2", "box3"),
        ("box3", "box2"),
    ]


def test_round_trips_are_told_with_two_digits() -> None:
    assert [rtt_words(seconds) for seconds in (None, 0.000123, 0.0042, 0.0334, 0.0996, 0.25, 2.0)] == [
        "", "0.12 ms", "4.2 ms", "33 ms", "100 ms", "250 ms", "2000 ms",
    ]  # fmt: skip


def test_a_gateway_is_measured_and_not_asked() -> None:
    runners = [runner(1), runner(2), runner(3, gateway_only=True)]
    ends = {(start.name, end.name) for start, end in pairs(runners)}
    assert ends == {("box1", "box2"), ("box2", "box1"), ("box1", "box3"), ("box2", "box3")}
    assert len(list(pairs(runners, runners[2]))) == 2
