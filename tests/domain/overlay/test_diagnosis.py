from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.finding import Finding, Severity
from netvps.domain.overlay.diagnosis import DiagnosisInput, diagnose
from netvps.domain.overlay.path import unknown
from netvps.domain.overlay.peer_health import LinkState, Problem
from netvps.domain.runner.runner import Runner, RunnerState, Underlay
from netvps.domain.session.session import DesiredState, SessionState
from netvps.domain.session.spec import Network, SessionSpec
from tests.domain.overlay.cases import mesh, runner, session, subnet

ONE, TWO, THREE = (runner(number) for number in (1, 2, 3))
WEB, DB = session("web", 1), session("db", 2)


def case(*runners: Runner, **changes: Any) -> DiagnosisInput:
    """Between web on box1 and db on box2."""
    boxes = runners or (ONE, TWO)
    subnets = {box.uid: subnet(int(box.name[3:])) for box in boxes}
    return replace(DiagnosisInput(14789, boxes, mesh(boxes[:2]), (WEB, DB), subnets), **changes)


def faults(it: DiagnosisInput) -> list[Finding]:
    return [finding for finding in diagnose(it) if finding.severity is not Severity.OK]


def only(it: DiagnosisInput) -> Finding:
    (found,) = faults(it)
    return found


def test_no_fault_is_said_with_what_was_looked_at() -> None:
    found = diagnose(case())
    assert [finding.severity for finding in found] == [Severity.OK] * 5
    assert found[0] == Finding(Severity.OK, "session web.ann", "it runs on box1 as 10.128.4.9")
    assert found[-1].text.startswith("no fault found; looked at 2 sessions, 2 runners, 2 links; if a service")
    whole = diagnose(case(ONE, TWO, sessions=()))
    assert whole[-1].text == "no fault found; looked at 2 runners, 2 links, the pool"


def test_a_session_that_moved_with_its_address_is_well() -> None:
    moved = replace(WEB, overlay_address="10.128.8.77", local_address="10.128.4.9", address="10.128.8.77")
    assert faults(case(sessions=(moved, DB))) == []
    assert diagnose(case(sessions=(moved, DB)))[0].text == "it runs on box1 as 10.128.8.77"


def test_multicast_is_said_to_end_at_the_machine_where_there_are_several() -> None:
    def said(it: DiagnosisInput) -> list[str]:
        return [finding.text for finding in diagnose(it) if finding.subject == "multicast"]

    (text,) = said(case())
    assert "is not carried to other machines" in text
    assert said(case(ONE, TWO, sessions=())) == [text]
    assert said(case(ONE, TWO, sessions=(WEB, replace(WEB, name="api")))) == []
    assert said(case(ONE, sessions=(), paths=())) == []


@pytest.mark.parametrize(
    ("changes", "text", "remedy"),
    [
        ({"state": SessionState.STOPPED}, "it is STOPPED", "netvps start web.ann"),
        ({"state": SessionState.FAILED, "message": "no image"}, "it is FAILED: no image", "netvps start web.ann"),
        ({"state": SessionState.PREPARING}, "it is PREPARING", "wait until it is RUNNING"),
        ({"state": SessionState.STOPPING, "desired": DesiredState.DELETED}, "it is being removed", "take another"),
        ({"spec": SessionSpec(network=Network.NONE), "overlay_address": ""}, "without a network", "make another one"),
        (
            {"overlay_address": ""},
            "before its runner box1 was on the overlay",
            "netvps stop web.ann, then netvps start",
        ),
        (
            {"overlay_address": "10.128.0.9"},
            "is not in the subnet of its runner, which is 10.128.4.0/22",
            "stop web.ann",
        ),
        (
            {"overlay_address": "10.128.0.9", "local_address": "10.128.8.9"},
            "its address 10.128.0.9 is not in the subnet of its runner",
            "stop web.ann",
        ),
        ({"address": "172.30.0.2"}, "it runs with the address 172.30.0.2, and not yet with 10.128.4.9", "stop web.ann"),
    ],
)
def test_a_session_that_is_not_there_is_the_fault(changes: dict[str, Any], text: str, remedy: str) -> None:
    found = only(case(sessions=(replace(WEB, **changes), DB)))
    assert (found.severity, found.subject) == (Severity.FAIL, "session web.ann")
    assert text in found.text
    assert remedy in found.remedy


def test_a_session_that_waits_for_a_runner_says_why() -> None:
    waiting = replace(
        WEB, state=SessionState.PENDING, runner="", runner_name="", overlay_address="", message="no runner"
    )
    assert only(case(sessions=(waiting, DB))).text == "it is PENDING: no runner"


def test_two_owners_are_kept_apart() -> None:
    found = only(case(sessions=(WEB, replace(DB, owner="bob"))))
    assert (found.severity, found.subject) == (Severity.FAIL, "web.ann - db.bob")
    assert "one is ann's, the other bob's" in found.text


def test_a_silent_runner_is_reported_once_for_its_session() -> None:
    off, lost = replace(TWO, state=RunnerState.OFFLINE), replace(DB, state=SessionState.UNREACHABLE)
    down = [mesh([ONE, off], box1_box2=LinkState.DOWN)[0], unknown(off, ONE, "box2 is offline")]
    found = only(case(ONE, off, paths=down, sessions=(WEB, lost)))
    assert (found.severity, found.subject) == (Severity.FAIL, "runner box2")
    assert "last heard of at 2026-01-02 03:04 UTC" in found.text
    answers = [mesh([ONE, off])[0], unknown(off, ONE, "box2 is offline")]
    found = only(case(ONE, off, paths=answers, sessions=(WEB, lost)))
    assert found.severity is Severity.WARN
    assert "still reachable, but cannot resolve names" in found.text


def test_a_runner_without_the_overlay_says_why() -> None:
    bare = replace(TWO, underlay=None, problems=(Problem("changing the network needs CAP_NET_ADMIN: run as root"),))
    lost = replace(DB, overlay_address="")
    found = only(case(ONE, bare, paths=(), sessions=(WEB, lost)))
    assert (found.severity, found.subject) == (Severity.FAIL, "runner box2")
    assert found.text == "it has no overlay: changing the network needs CAP_NET_ADMIN: run as root"
    assert only(case(ONE, bare, paths=(), sessions=())).severity is Severity.WARN


def test_a_clone_is_found_by_its_address() -> None:
    clone = replace(THREE, underlay=TWO.underlay)
    found = only(case(ONE, TWO, clone))
    assert (found.severity, found.subject) == (Severity.FAIL, "runner box2")
    assert "box2 and box3 say that they are at the same address, 192.0.2.2" in found.text
    gone = replace(clone, state=RunnerState.OFFLINE)
    assert only(case(ONE, TWO, gone)).severity is Severity.WARN
    elsewhere = replace(THREE, underlay=Underlay(("192.0.2.4",), 1450))
    assert faults(case(ONE, TWO, elsewhere, replace(elsewhere, uid="uid4", name="box4"))) == []


def test_reported_problems_are_findings_unless_measured_now() -> None:
    general, of_a_link = Problem("nftables is not there"), Problem("box2 does not answer", "uid2")
    telling = replace(ONE, problems=(general, of_a_link, Problem("box3 does not answer", "uid3")))
    reported = [(one.severity, one.text) for one in faults(case(telling, TWO, THREE))]
    says = [(Severity.WARN, f"it says: {problem.message}") for problem in (general, of_a_link)]
    assert reported == says
    measured = faults(case(telling, TWO, THREE, paths=mesh([telling, TWO], box1_box2=LinkState.DOWN)))
    assert [one.subject for one in measured] == ["box1 - box2", "runner box1"]


def test_sizes_that_differ_are_reported_once() -> None:
    wide = [runner(number, underlay=Underlay((f"192.0.2.{number}",), 8950)) for number in (2, 3)]
    found = only(case(ONE, *wide, sessions=()))
    assert (found.severity, found.subject) == (Severity.WARN, "MTU")
    assert found.text.endswith("1450 bytes on box1, 8950 bytes on box2 and 1 more")


def test_a_pool_that_is_nearly_used_up_is_reported() -> None:
    assert faults(case(sessions=(), subnets_used=9, subnets_free=1)) == []
    assert only(case(sessions=(), subnets_used=10, subnets_free=1)).text == "10 of 11 subnets are taken"
    assert "no runner can join" in only(case(sessions=(), subnets_used=10, subnets_free=0)).text
    assert faults(case(subnets_used=10, subnets_free=0)) == []  # of no concern to two sessions


def test_why_nothing_was_measured_is_reported() -> None:
    assert Finding(Severity.OK, "links", "not measured") in diagnose(
        case(paths=(), sessions=(), unmeasured="not measured")
    )


states = st.sampled_from(LinkState)
boxes = st.builds(
    lambda number, online, mtu, reported: runner(
        number,
        state=RunnerState.ONLINE if online else RunnerState.OFFLINE,
        underlay=Underlay((f"192.0.2.{number}",), mtu) if mtu else None,
        problems=tuple(Problem(text, peer) for text, peer in reported),
    ),
    st.integers(1, 6),
    st.booleans(),
    st.sampled_from([0, 1450, 8950]),
    st.lists(st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["", "uid1", "uid2", "gone"])), max_size=2),
)
sessions = st.builds(
    lambda name, number, state, address, owner: session(
        name, number, state=state, owner=owner, **({} if address else {"overlay_address": ""})
    ),
    st.sampled_from(["web", "db"]),
    st.integers(1, 6),
    st.sampled_from(SessionState),
    st.booleans(),
    st.sampled_from(["ann", "bob"]),
)


@st.composite
def cases(draw: st.DrawFn) -> DiagnosisInput:
    runners = draw(st.lists(boxes, unique_by=lambda box: box.uid, max_size=5))
    able = [box for box in runners if box.underlay]
    ways = [f"{a.name}_{b.name}" for a in able for b in able]
    paths = mesh(able, **draw(st.dictionaries(st.sampled_from(ways), states))) if ways else []
    asked = draw(st.lists(sessions, unique_by=lambda one: one.full_name, max_size=2))
    used, free = draw(st.tuples(st.integers(0, 9), st.integers(0, 9)))
    return DiagnosisInput(14789, runners, paths, asked, {box.uid: subnet(1) for box in runners}, used, free)


@given(cases())
def test_the_worst_comes_first_each_fault_has_a_remedy_and_silence_is_impossible(it: DiagnosisInput) -> None:
    found = diagnose(it)
    order = [list(Severity).index(finding.severity) for finding in found]
    assert found
    assert order == sorted(order)
    assert all(finding.text and finding.subject for finding in found)
    assert all(bool(finding.remedy) == (finding.severity is not Severity.OK) for finding in found)
    fine = [finding for finding in found if "no fault found" in finding.text]
    assert len(fine) == (set(order) <= {2})


@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_what_is_looked_at_changes_nothing(it: DiagnosisInput, random: Any) -> None:
    shuffled = [*it.runners], [*it.paths]
    for items in shuffled:
        random.shuffle(items)
    other = replace(it, runners=shuffled[0], paths=shuffled[1])
    assert {(one.severity, one.subject) for one in diagnose(it)} == {
        (one.severity, one.subject) for one in diagnose(other)
    }


@given(cases())
def test_a_pair_that_is_down_between_two_that_are_there_is_always_a_fault(it: DiagnosisInput) -> None:
    there = {box.name for box in it.runners if box.state is RunnerState.ONLINE and box.underlay}
    dead = {
        frozenset((one.start, one.end)) for one in it.paths if one.state == "DOWN" and {one.start, one.end} <= there
    }
    reported = {frozenset(one.subject.split(" - ")) for one in diagnose(it) if one.severity is Severity.FAIL}
    assert dead <= reported


def test_an_offline_runner_without_sessions_makes_no_session_unreachable() -> None:
    boxes = runner(1), runner(2, no_sessions=True, state=RunnerState.OFFLINE)
    (found,) = faults(case(*boxes, sessions=()))
    assert "offline" in found.text
    assert "sessions" not in found.text
    assert not any(finding.subject == "multicast" for finding in diagnose(case(*boxes, sessions=())))
