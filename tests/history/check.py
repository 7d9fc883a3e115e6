"""Judges a history: is there an order of the operations that explains what was answered and what exists (P1, P2)?

And what must hold whatever was asked: nothing given twice (P4), all as wanted (P7), nothing orphaned (P8).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.history.record import End, History, Operation

GOAL = {"RUNNING": "RUNNING", "STOPPED": "STOPPED", "PAUSED": "PAUSED"}
_WANTS = {"stop": "STOPPED", "start": "RUNNING", "pause": "PAUSED", "resume": "RUNNING", "delete": "DELETED"}
_FROM = {"pause": {"RUNNING", "PAUSED"}, "resume": {"RUNNING", "PAUSED"}}
"""What has to be wanted before, if not anything but the deletion."""
_BY_ITSELF = {"PAUSED": ("RUNNING", "STOPPED")}
"""What a wish may become without a request: a login resumes a paused session, and one whose container ends is stopped.
"""

State = tuple[str, str] | None
"""Of the model of one session: its uid ('?' if no client heard it) and what is wanted; None if there is none."""
ANY = "?"


def violations(history: History, end: End) -> list[str]:
    """All that is wrong, in sentences; empty if the promises were kept."""
    return [
        *_unexplained(history, end),
        *_answers_that_differ(history),
        *_given_twice(end),
        *_not_as_wanted(end),
        *_orphans(end),
        *(f"P1: session {name} lost a file" for name in end.lost_files),
    ]


def _unexplained(history: History, end: End) -> Iterable[str]:
    of_session: dict[str, list[Operation]] = defaultdict(list)
    for operation in history.operations:
        of_session[operation.session].append(operation)
    for name, operations in of_session.items():
        there = [found for found in end.sessions if found.session == name]
        final: State = (there[0].uid, there[0].desired) if there else None
        if not _explained(_requests(operations), final):
            heard = ", ".join(f"{o.kind} {o.outcome}" for o in operations)
            yield f"P1: no order of the operations of session {name} ({heard}) ends in {final}"


def _requests(operations: list[Operation]) -> list[Operation]:
    """Each request once, from its first call to its last answer: however often it is sent, it has one effect."""
    from tests.history.record import Operation

    merged: list[Operation] = []
    groups: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        groups[operation.request_id].append(operation)
    for calls in groups.values():
        answered = [call for call in calls if call.outcome != "unknown"]
        reported = answered[-1] if answered else calls[-1]
        merged.append(
            Operation(
                reported.kind,
                reported.session,
                reported.request_id,
                calls[0].start,
                reported.end,
                reported.outcome,
                reported.uid,
            )
        )
    return merged


def _explained(operations: list[Operation], final: State) -> bool:
    """Searches for an order that keeps to what was over before another began."""
    seen: set[tuple[frozenset[int], State]] = set()
    pending = [(frozenset(range(len(operations))), None)]  # type: list[tuple[frozenset[int], State]]
    while pending:
        left, state = pending.pop()
        if (left, state) in seen:
            continue
        seen.add((left, state))
        if all(operations[i].outcome == "unknown" for i in left) and _same(state, final):
            return True
        # An unknown one may happen long after its caller gave up, so it blocks no other.
        ends = [end for i in left if operations[i].outcome != "unknown" and (end := operations[i].end) is not None]
        for i in left:
            if operations[i].start <= min(ends, default=operations[i].start):
                pending += [(left - {i}, after) for after in _after(operations[i], state)]
    return False


def _after(operation: Operation, state: State) -> list[State]:
    """What an operation may leave; nothing if it cannot have been answered like that in this state."""
    if operation.outcome == "refused":
        return [state]
    after: State
    if operation.kind == "create":
        possible, after = state is None, (operation.uid or ANY, "RUNNING")
    else:
        # A delete ends in the session's removal, at some time; until then it can be asked for again.
        allowed = _FROM.get(operation.kind)
        possible = state is not None and (
            operation.kind == "delete" or (state[1] in allowed if allowed else state[1] != "DELETED")
        )
        after = (state[0], _WANTS[operation.kind]) if state else None
    found: list[State] = [after] if possible else []
    if possible and after:
        found += [(after[0], wish) for wish in _BY_ITSELF.get(after[1], ())]
    if possible and operation.kind == "delete":
        found.append(None)
    return found + ([state] if operation.outcome == "unknown" else [])


def _same(state: State, final: State) -> bool:
    if state is None or final is None:
        return (state is None or state[1] == "DELETED") and final is None
    return state[1] == final[1] and state[0] in {ANY, final[0]}


def _answers_that_differ(history: History) -> Iterable[str]:
    answers: dict[str, set[str]] = defaultdict(set)
    for operation in history.operations:
        if operation.outcome == "done" and operation.uid:
            answers[operation.request_id].add(operation.uid)
    return [f"P2: request {request} made {sorted(uids)}" for request, uids in answers.items() if len(uids) > 1]


def _given_twice(end: End) -> Iterable[str]:
    for what, given in (
        ("uid", [found.uid for found in end.sessions]),
        ("name", [found.session for found in end.sessions]),
        ("address", [found.address for found in end.sessions if found.address]),
        ("subnet", [*end.subnets]),
        ("image name", [name for _, name in end.snapshots if name]),
    ):
        yield from (f"P4: {what} {value} is given {n} times" for value, n in Counter(given).items() if n > 1)


def _not_as_wanted(end: End) -> Iterable[str]:
    for found in end.sessions:
        if GOAL.get(found.desired) != found.state:
            yield f"P7: session {found.session} is {found.state}, and wanted {found.desired}"
        elif found.reason == "snapshot_pending":
            yield f"P7: session {found.session} is stopped, and has no snapshot yet"


def _orphans(end: End) -> Iterable[str]:
    of = {found.uid: found for found in end.sessions}
    for uid, number in Counter(end.containers).items():
        if uid not in of:
            yield f"P8: a container of session {uid}, which is gone"
        elif of[uid].state == "STOPPED" and uid in end.running:
            yield f"P8: session {of[uid].session} is stopped, and its container runs"
        elif number > 1:
            yield f"P3: session {of[uid].session} has {number} containers"
    with_container = set(end.containers)
    for found in end.sessions:
        if found.state == "RUNNING" and found.uid not in with_container:
            yield f"P1: session {found.session} is said to run, and has no container"
    for uid, name in end.snapshots:
        if uid not in of:
            yield f"P8: image {name or 'without a name'} of session {uid}, which is gone"
        elif not name:
            yield f"P8: session {of[uid].session} has an image without a name"
    for uid, what in end.others:
        if uid not in of:
            yield f"P8: {what} of session {uid}, which is gone"
