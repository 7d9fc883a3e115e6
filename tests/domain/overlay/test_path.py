from __future__ import annotations

from dataclasses import replace

import pytest

from netvps.domain.finding import Finding, Severity
from netvps.domain.overlay.path import (
    Path,
    PathState,
    healthy_links,
    measured,
    pairs,
    path_findings,
    rtt_words,
    unhealthy_pairs,
    unknown,
    why_unable,
)
from netvps.domain.overlay.peer_health import Link, LinkState, Problem
from netvps.domain.runner.runner import RunnerState, Underlay
from tests.domain.overlay.cases import mesh, runner


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
    reported = runner(1, underlay=None, problems=(Problem("no right to"), Problem("a link", "uid2")))
    assert why_unable(reported) == "box1 has no overlay: no right to"


def test_pairs_are_all_or_those_of_one() -> None:
    runners = [runner(number) for number in range(1, 4)]
    assert len(set(pairs(runners))) == 6
    assert [(start.name, end.name) for start, end in pairs(runners, runners[1])] == [
        ("box1", "box2"),
        ("box2", "box1"),
        ("box2", "box3"),
        ("box3", "box2"),
    ]


def test_round_trips_are_reported_with_two_digits() -> None:
    assert [rtt_words(seconds) for seconds in (None, 0.000123, 0.0042, 0.0334, 0.0996, 0.25, 2.0)] == [
        "", "0.12 ms", "4.2 ms", "33 ms", "100 ms", "250 ms", "2000 ms",
    ]  # fmt: skip


def test_each_pair_is_measured_from_both_ends() -> None:
    runners = [runner(1), runner(2), runner(3, no_sessions=True)]
    ends = {(start.name, end.name) for start, end in pairs(runners)}
    assert ends == {(a, b) for a in ("box1", "box2", "box3") for b in ("box1", "box2", "box3") if a != b}
    assert len(list(pairs(runners, runners[2]))) == 4


ONE, TWO = runner(1), runner(2)
NONE: frozenset[str] = frozenset()


def judged(paths: list[Path], away: frozenset[str] = NONE) -> list[Finding]:
    return list(path_findings(paths, 14789, away))


def test_paths_that_are_well_are_no_fault_and_reported_once() -> None:
    paths = mesh([ONE, TWO])
    assert judged(paths) == []
    assert list(healthy_links(paths)) == [
        Finding(Severity.OK, "links", "box1 to box2 0.4 ms, 1450 bytes; box2 to box1 0.4 ms, 1450 bytes")
    ]
    assert [one.text for one in healthy_links(mesh([runner(number) for number in range(1, 5)]))] == ["12 of 12 are up"]
    assert list(healthy_links([])) == []


def test_down_in_both_directions_is_a_firewall_anywhere_between() -> None:
    (finding,) = judged(mesh([ONE, TWO], box1_box2=LinkState.DOWN, box2_box1=LinkState.DOWN))
    assert (finding.severity, finding.subject) == (Severity.FAIL, "box1 - box2")
    assert finding.text == "box1 (192.0.2.1) and box2 (192.0.2.2) get no answer from each other"
    assert "UDP port 14789 through in both directions" in finding.remedy


def test_down_in_one_direction_is_the_firewall_of_the_one_that_does_not_answer() -> None:
    (finding,) = judged(mesh([ONE, TWO], box2_box1=LinkState.DOWN))
    assert finding.text == "box2 (192.0.2.2) gets no answer from box1 (192.0.2.1), which does get answers from there"
    assert "UDP port 14789 from 192.0.2.2 in, in the firewall of box1" in finding.remedy


def test_down_is_reported_without_a_measurement_from_the_other_side() -> None:
    paths = [mesh([ONE, TWO], box1_box2=LinkState.DOWN)[0], unknown(TWO, ONE, "box2: no answer")]
    down, unmeasured = judged(paths)
    assert down.text == "box1 (192.0.2.1) gets no answer from box2 (192.0.2.2)"
    assert (unmeasured.severity, unmeasured.text) == (Severity.WARN, "its links were not measured: box2: no answer")


def test_silence_of_who_is_away_is_no_news() -> None:
    paths = [mesh([ONE, TWO], box1_box2=LinkState.DOWN)[0], unknown(TWO, ONE, "box2 is offline")]
    assert judged(paths, frozenset({"box2"})) == []


@pytest.mark.parametrize(("kind", "overhead"), [("192.0.2.{}", 50), ("2001:db8::{}", 70)])
def test_a_black_hole_names_both_the_sizes_and_the_mtu_to_set(kind: str, overhead: int) -> None:
    one, two = (replace(box, underlay=Underlay((kind.format(box.name[-1]),), 1450)) for box in (ONE, TWO))
    (finding,) = judged(mesh([one, two], box1_box2=LinkState.REDUCED))
    assert (finding.severity, finding.subject) == (Severity.WARN, "box1 - box2")
    assert finding.text.startswith(f"packets of more than 1400 bytes get lost between box1 ({kind.format(1)}) and box2")
    assert finding.text.endswith("which should take 1450")
    assert f"packets of {1450 + overhead} bytes" in finding.remedy
    assert f"to {1400 + overhead} (ip link set" in finding.remedy


def test_two_kinds_of_addresses_are_the_fault_itself() -> None:
    two = replace(TWO, underlay=Underlay(("2001:db8::2",), 1430))
    (finding,) = judged(
        [measured(ONE, two, Link(two.uid, LinkState.DOWN)), measured(two, ONE, Link(ONE.uid, LinkState.DOWN))]
    )
    assert finding.severity is Severity.FAIL
    assert "box2 has no address of the kind that box1 uses" in finding.text


def test_a_reason_is_reported_once_for_all_links_of_a_runner() -> None:
    others = [runner(number) for number in range(2, 6)]
    findings = judged([unknown(ONE, other, "box1: too busy") for other in others])
    assert [finding.subject for finding in findings] == ["runner box1"]


def test_pairs_at_fault_are_those_with_a_link_that_is_not_healthy_links() -> None:
    paths = mesh([ONE, TWO, runner(3)], box1_box2=LinkState.DOWN, box3_box1=LinkState.REDUCED)
    assert unhealthy_pairs(paths) == {frozenset({"box1", "box2"}), frozenset({"box1", "box3"})}
