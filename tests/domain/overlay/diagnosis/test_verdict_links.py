from __future__ import annotations

from dataclasses import replace

import pytest

from netvps.domain.overlay.diagnosis.finding import Finding, Severity
from netvps.domain.overlay.diagnosis.health import Link, LinkState
from netvps.domain.overlay.diagnosis.path import Path, measured, unknown
from netvps.domain.overlay.diagnosis.verdict_links import at_fault, judge, well
from netvps.domain.runner.runner import Underlay
from tests.domain.overlay.cases import mesh, runner

ONE, TWO = runner(1), runner(2)
NOBODY: frozenset[str] = frozenset()


def judged(paths: list[Path], away: frozenset[str] = NOBODY) -> list[Finding]:
    return list(judge(paths, 14789, away))


def test_paths_that_are_well_are_no_fault_and_told_once() -> None:
    paths = mesh([ONE, TWO])
    assert judged(paths) == []
    assert list(well(paths)) == [
        Finding(Severity.OK, "links", "box1 to box2 0.4 ms, 1450 bytes; box2 to box1 0.4 ms, 1450 bytes")
    ]
    assert [one.text for one in well(mesh([runner(number) for number in range(1, 5)]))] == ["12 of 12 are up"]
    assert list(well([])) == []


def test_down_in_both_directions_is_a_firewall_anywhere_between() -> None:
    (finding,) = judged(mesh([ONE, TWO], box1_box2=LinkState.DOWN, box2_box1=LinkState.DOWN))
    assert (finding.severity, finding.subject) == (Severity.FAIL, "box1 - box2")
    assert finding.text == "box1 (192.0.2.1) and box2 (192.0.2.2) get no answer from each other"
    assert "UDP port 14789 through in both directions" in finding.remedy


def test_down_in_one_direction_is_the_firewall_of_the_one_that_does_not_answer() -> None:
    (finding,) = judged(mesh([ONE, TWO], box2_box1=LinkState.DOWN))
    assert finding.text == "box2 (192.0.2.2) gets no answer from box1 (192.0.2.1), which does get answers from there"
    assert "UDP port 14789 from 192.0.2.2 in, in the firewall of box1" in finding.remedy


def test_down_is_told_where_nobody_looked_from_the_other_side() -> None:
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


def test_a_reason_is_told_once_for_all_links_of_a_runner() -> None:
    others = [runner(number) for number in range(2, 6)]
    findings = judged([unknown(ONE, other, "box1: too busy") for other in others])
    assert [finding.subject for finding in findings] == ["runner box1"]


def test_pairs_at_fault_are_those_with_a_link_that_is_not_well() -> None:
    paths = mesh([ONE, TWO, runner(3)], box1_box2=LinkState.DOWN, box3_box1=LinkState.REDUCED)
    assert at_fault(paths) == {frozenset({"box1", "box2"}), frozenset({"box1", "box3"})}
