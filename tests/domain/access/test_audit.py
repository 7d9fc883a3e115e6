"""The chain of the audit log: every change of it is found."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.access.audit import (
    FIRST,
    TEXT_MAX,
    AuditEvent,
    AuditQuery,
    AuditRecord,
    Verification,
    pruned,
    record,
    verify,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
EVENTS = st.builds(
    AuditEvent,
    *(st.text(max_size=5) for _ in range(5)),
    st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=2).map(tuple),
)


def chain(events: list[AuditEvent]) -> list[AuditRecord]:
    made: list[AuditRecord] = []
    for number, event in enumerate(events, 1):
        previous = made[-1].digest if made else FIRST
        made.append(record(number, NOW + timedelta(seconds=number), event, previous))
    return made


CHAINS = st.lists(EVENTS, min_size=3, max_size=8).map(chain)


@given(CHAINS)
def test_a_whole_chain_has_no_faults(records: list[AuditRecord]) -> None:
    assert verify(records) == []
    assert verify(records, newest=records[-1].digest) == []


@given(CHAINS, st.data())
def test_a_changed_record_is_found(records: list[AuditRecord], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(records) - 1))
    found = records[place]
    changed = data.draw(
        st.sampled_from(
            [
                replace(found, time=found.time + timedelta(microseconds=1)),
                replace(found, event=replace(found.event, actor=found.event.actor + "x")),
                replace(found, event=replace(found.event, details=(*found.event.details, ("a", "b")))),
                # Whoever computes the digest again breaks the link to the next record.
                record(found.number, found.time, replace(found.event, outcome="DENIED!"), found.previous),
            ]
        )
    )
    faults = verify([*records[:place], changed, *records[place + 1 :]], newest=records[-1].digest)
    assert faults


@given(CHAINS, st.data())
def test_a_removed_record_is_found(records: list[AuditRecord], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(records) - 1))
    assert verify([*records[:place], *records[place + 1 :]], newest=records[-1].digest)
    if place not in {0, len(records) - 1}:
        assert verify([*records[:place], *records[place + 1 :]]) == [f"records {place + 1} to {place + 1} are missing"]


@given(CHAINS, st.data())
def test_reordered_records_are_found(records: list[AuditRecord], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(records) - 2))
    records[place], records[place + 1] = records[place + 1], records[place]
    assert any("the order was changed" in fault for fault in verify(records, newest=""))


def test_a_beginning_is_missing_unless_a_record_says_that_it_was_deleted() -> None:
    records = chain([AuditEvent("alice", "local", "a") for _ in range(4)])
    assert verify(records[2:]) == ["the records before 3 are missing, and no record says that they were deleted"]
    said = record(5, NOW, pruned(records[1]), records[-1].digest)
    assert verify([*records[2:], said]) == []
    lie = record(5, NOW, pruned(replace(records[1], digest="0" * 64)), records[-1].digest)
    assert len(verify([*records[2:], lie])) == 1


def test_an_empty_log_is_whole_and_faults_are_bounded() -> None:
    assert verify([]) == []
    assert verify([], newest="a" * 64)
    checking = Verification()
    for each in chain([AuditEvent("", "", "") for _ in range(100)])[::-1]:
        checking.add(each)
    assert len(checking.finish()) == 20


def test_texts_are_cut() -> None:
    long = "x" * 2000
    cut = AuditEvent(long, long, long, long, long, ((long, long),)).bounded()
    assert {len(text) for text in (cut.actor, cut.target, *cut.details[0])} == {TEXT_MAX}


def test_a_query_matches_what_it_names() -> None:
    one, two, three = chain([AuditEvent(name, "local", "act", f"users/{name}") for name in ("alice", "bob", "alice")])
    queries = {
        AuditQuery(9, actor="alice"): [one, three],
        AuditQuery(9, target="users/bob", action="act"): [two],
        AuditQuery(9, action="other"): [],
        AuditQuery(9, after=1, before=3): [two],
        AuditQuery(9, since=two.time, until=three.time): [two],
    }
    for query, expected in queries.items():
        assert [each for each in (one, two, three) if query.matches(each)] == expected
