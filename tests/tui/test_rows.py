"""Whatever changes in whatever steps: the rows are those that match, sorted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from netvps_tui.rows import ORDERS, Rows

from netvps.client import SessionFilter
from netvps.domain.session.session import Session, SessionState
from tests.tui.test_live import NOW, session

NAMES = [f"s{number}" for number in range(8)]
STATES = [SessionState.RUNNING, SessionState.STOPPED]
CHANGE = st.tuples(st.sampled_from(NAMES), st.sampled_from(STATES) | st.none(), st.sampled_from(["", "box1", "box2"]))


@given(st.sampled_from([*ORDERS]), st.sampled_from(["", "state=RUNNING", "box1"]), st.lists(st.lists(CHANGE)))
def test_rows_are_what_matches_in_order(
    order: str, matching: str, batches: list[list[tuple[str, SessionState | None, str]]]
) -> None:
    rows, sessions, wanted = Rows(), dict[str, Session](), SessionFilter.parse(matching)
    rows.order, rows.matching = order, wanted
    for batch in batches:
        for name, state, runner in batch:
            if state is None:
                sessions.pop(f"uid-{name}", None)
                continue
            age = timedelta(hours=NAMES.index(name) % 3)
            sessions[f"uid-{name}"] = replace(session(name, 1, state), runner_name=runner, create_time=NOW - age)
        rows.take(sessions, {f"uid-{name}" for name, _, _ in batch})
        found = sorted(filter(wanted.matches, sessions.values()), key=lambda one: (*ORDERS[order](one), one.uid))
        assert rows.uids == [one.uid for one in found]
    before = rows.uids
    rows.arrange(sessions)
    assert rows.uids == before


def test_rows_are_the_same_list_while_they_stay() -> None:
    rows, sessions = Rows(), {"uid-a": session("a", 1)}
    rows.take(sessions, {"uid-a"})
    before = rows.uids
    sessions["uid-a"] = session("a", 2)
    rows.take(sessions, {"uid-a"})
    assert rows.uids is before


def test_many_changes_at_once_are_sorted_together() -> None:
    rows = Rows()
    sessions = {f"uid-{number:04}": session(f"{number:04}", 1) for number in range(2000)}
    rows.take(sessions, set(sessions))
    assert rows.uids == sorted(sessions)
