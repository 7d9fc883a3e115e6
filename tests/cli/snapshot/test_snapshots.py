"""`netvps snapshot` and `netvps clone`; so of netvps.cli.snapshot.waiting, too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from netvps import exit_codes
from netvps.cli.server import connect
from netvps.cli.snapshot import waiting
from netvps.domain.session.event import EventType, SnapshotEvent
from netvps.domain.session.session import Session, SessionState
from netvps.domain.snapshot.snapshot import (
    Holder,
    Restore,
    RestoreState,
    Snapshot,
    SnapshotCause,
    SnapshotChange,
    SnapshotDraft,
    SnapshotState,
)
from netvps.errors import NotFound
from tests.cli.conftest import Run
from tests.cli.fake_client import NOW, FakeClient, put, session


def _snapshot(snapshot_id: str = "one", state: SnapshotState = SnapshotState.READY, **changes: Any) -> Snapshot:
    made = Snapshot(
        f"uid-{snapshot_id}", "uid-dev1", "dev1", "alice", snapshot_id, SnapshotCause.REQUEST, NOW, NOW, state
    )
    return replace(made, size_bytes=7 << 20, holders=(Holder("", "box1"),), **changes)


@dataclass
class Server(FakeClient):
    """A server with snapshots; `becomes` is what a watch shows."""

    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    becomes: list[SnapshotEvent] = field(default_factory=list)

    def create_snapshot(self, session: str, draft: SnapshotDraft) -> Snapshot:
        self._ask("create_snapshot", session, draft)
        return _snapshot(draft.id or "20260102-030405", SnapshotState.CREATING)

    def get_snapshot(self, session: str, snapshot: str) -> Snapshot:
        self._ask("get_snapshot", session, snapshot)
        return self.snapshots[snapshot]

    def list_snapshots(self, session: str = "", *, parent: str = "") -> Iterator[Snapshot]:
        self._ask("list_snapshots", session)
        yield from self.snapshots.values()

    def update_snapshot(self, session: str, snapshot: str, change: SnapshotChange) -> Snapshot:
        self._ask("update_snapshot", session, snapshot, change)
        return change.of(self.snapshots[snapshot])

    def delete_snapshot(self, session: str, snapshot: str) -> Snapshot:
        self._ask("delete_snapshot", session, snapshot)
        return replace(self.snapshots[snapshot], state=SnapshotState.DELETING)

    def restore_snapshot(self, name: str, snapshot: str) -> Session:
        self._ask("restore_snapshot", name, snapshot)
        return session(restore=Restore("r", "uid-one", "uid-before", NOW), generation=2, revision=2)

    def clone_session(self, source: str, session_id: str = "", *, snapshot: str = "") -> Session:
        self._ask("clone_session", source, session_id, snapshot)
        return session(session_id, SessionState.PENDING, observed_generation=0)

    def watch_snapshots(self, session: str = "", *, timeout: float | None = None) -> Iterator[SnapshotEvent]:
        self._ask("watch_snapshots", session)
        yield from self.becomes


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server(snapshots={"one": _snapshot()})
    monkeypatch.setattr(connect, "dial", lambda _context: made)
    return made


def _put(snapshot: Snapshot) -> SnapshotEvent:
    return SnapshotEvent(EventType.PUT, snapshot, 9)


def test_create_waits_until_it_is_ready_and_prints_its_name(run: Run, server: Server) -> None:
    server.becomes = [_put(_snapshot("one", SnapshotState.CREATING)), _put(_snapshot("one", warnings=("no volumes",)))]
    ran = run("snapshot", "create", "dev1", "one", "-d", "why", "-l", "a=b", "--pin")
    assert (ran.code, ran.out) == (0, "one\n")
    assert server.asked[0] == ("create_snapshot", "dev1", SnapshotDraft("one", "why", {"a": "b"}, pinned=True))
    assert "warning: no volumes" in ran.err
    assert "snapshot one of session dev1 is ready" in ran.err


def test_a_failure_has_its_cause_and_a_code_of_its_own(run: Run, server: Server) -> None:
    server.becomes = [_put(_snapshot("one", SnapshotState.FAILED, reason="disk", message="9 MiB needed, 1 MiB free"))]
    ran = run("snapshot", "create", "dev1", "one")
    assert ran.code == exit_codes.CAPACITY
    assert "snapshot one failed: 9 MiB needed, 1 MiB free; the session is not affected" in ran.err


def test_without_a_wait_nothing_is_watched(run: Run, server: Server) -> None:
    ran = run("snapshot", "create", "dev1", "--no-wait")
    assert (ran.code, ran.out) == (0, "20260102-030405\n")
    assert [asked[0] for asked in server.asked] == ["create_snapshot"]


def test_ls_prints_a_table_and_json(run: Run, server: Server) -> None:
    assert server.snapshots
    assert run("snapshot", "ls").out.splitlines()[1].split()[:5] == ["dev1", "one", "READY", "request", "7M"]
    assert json.loads(run("snapshot", "ls", "dev1", "-o", "json").out)[0]["state"] == "SNAPSHOT_STATE_READY"
    assert run("snapshot", "ls", "dev1", "-o", "name").out == "one\n"


def test_show_names_what_is_missing(run: Run, server: Server) -> None:
    server.snapshots["one"] = _snapshot(warnings=("it does not hold what is in volumes of the image: /data",))
    ran = run("snapshot", "show", "dev1", "one")
    assert "dev1.alice/one" in ran.out
    assert "/data" in ran.out


def test_pins(run: Run, server: Server) -> None:
    assert run("snapshot", "pin", "dev1", "one").code == 0
    assert run("snapshot", "unpin", "dev1", "one").code == 0
    changes = [asked[3].pinned for asked in server.asked if asked[0] == "update_snapshot"]
    assert changes == [True, False]


def test_rm_asks_for_the_name_where_there_is_no_terminal(run: Run, server: Server) -> None:
    refused = run("snapshot", "rm", "dev1", "one")
    assert refused.code == exit_codes.USAGE
    assert "confirm with --yes" in refused.err
    server.becomes = [SnapshotEvent(EventType.DELETED, _snapshot("one", SnapshotState.DELETING), 9)]
    assert run("snapshot", "rm", "dev1", "one", "--yes").out == "one\n"


def test_restore_says_where_the_replaced_files_are(run: Run, server: Server) -> None:
    done = Restore("r", "uid-one", "uid-before", NOW, RestoreState.DONE)
    server.snapshots["before"] = _snapshot("before")
    server.script = [put(session(restore=done, generation=2, observed_generation=2), 9)]
    ran = run("snapshot", "restore", "dev1", "one", "--yes")
    assert (ran.code, ran.out) == (0, "dev1\n")
    assert "session dev1 has the files of snapshot one; those before it are in snapshot before" in ran.err


def test_a_restore_that_failed_says_that_nothing_changed(run: Run, server: Server) -> None:
    failed = Restore("r", "uid-one", "uid-before", NOW, RestoreState.FAILED, "the copy is damaged")
    server.script = [put(session(restore=failed, generation=2, observed_generation=2), 9)]
    ran = run("snapshot", "restore", "dev1", "one", "--yes")
    assert ran.code == exit_codes.CONFLICT
    assert "session dev1 was not restored, and has the files that it had: the copy is damaged" in ran.err


def test_clone_waits_until_it_runs(run: Run, server: Server) -> None:
    server.script = [put(session("dev2"), 9)]
    ran = run("clone", "dev1", "dev2", "--snapshot", "one")
    assert (ran.code, ran.out) == (0, "dev2\n")
    assert server.asked[0] == ("clone_session", "dev1", "dev2", "one")
    assert "next: netvps ssh dev2" in ran.err


@pytest.mark.parametrize("words", [("snapshot", "show", "dev1", "No!"), ("clone", "dev1", "dev2", "--snapshot", "")])
def test_a_name_that_is_none_is_refused_before_the_server_is_asked(
    run: Run, server: Server, words: tuple[str, ...]
) -> None:
    assert run(*words).code == exit_codes.USAGE
    assert server.asked == []


def test_a_mistyped_snapshot_comes_back_with_the_nearest(run: Run, server: Server) -> None:
    server.errors["get_snapshot"] = NotFound(
        "session dev1.alice has no snapshot oen: see netvps snapshot ls dev1.alice"
    )
    ran = run("snapshot", "show", "dev1", "oen")
    assert ran.code == exit_codes.NOT_FOUND
    assert ran.err.endswith("see netvps snapshot ls dev1.alice; did you mean one?\n")
    assert ("list_snapshots", "dev1.alice") in server.asked


def test_copies_are_waited_for_and_shown(run: Run, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "_POLL_SECONDS", 0.0)
    two = _snapshot("one", copies=2)
    server.snapshots["one"] = replace(two, holders=(*two.holders, Holder("", "box2"), Holder("", "box3", damaged=True)))
    ran = run("snapshot", "copies", "dev1", "one", "2")
    assert (ran.code, ran.out) == (0, "one\n")
    assert server.asked[0] == ("update_snapshot", "dev1", "one", SnapshotChange(copies=2))
    assert "snapshot one of session dev1 has 2/2 copies, on box1, box2" in ran.err
    assert "2/2" in run("snapshot", "ls", "dev1", "-o", "wide").out
    shown = run("snapshot", "show", "dev1", "one").out
    assert "box1, box2" in shown
    assert "box3" in shown


def test_copies_that_are_late_or_lost_say_so(run: Run, server: Server) -> None:
    server.snapshots["one"] = _snapshot("one", copies=2, message="copying to box2: no room")
    ran = run("snapshot", "copies", "dev1", "one", "2", "--timeout", "1s")
    assert ran.code == exit_codes.TIMEOUT
    assert "has 1/2 copies" in ran.err
    server.snapshots["one"] = _snapshot("one", SnapshotState.FAILED, message="damaged everywhere")
    ran = run("snapshot", "copies", "dev1", "one", "2")
    assert ran.code == exit_codes.CONFLICT
    assert "is lost: damaged everywhere" in ran.err
