"""Snapshots at whose points faults are armed: each operation, what it passes, and how it is judged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.domain.snapshot.snapshot import RestoreState, SnapshotChange, SnapshotDraft, SnapshotState
from netvps.errors import NotFound
from tests.e2e.kills.faulty import Faulty, until
from tests.e2e.system import unique

if TYPE_CHECKING:
    from pathlib import Path

    from netvps.domain.session.session import Session
    from netvps.domain.snapshot.snapshot import Snapshot


def _committed(name: str) -> list[str]:
    return [f"{name}.before_commit", f"{name}.after_commit"]


def _stepped(name: str) -> list[str]:
    return [f"step.{name}.before", f"step.{name}.after"]


SNAPSHOT_PASSES: Final = {
    "snapshot": [*_committed("snapshot.create"), *_stepped("take"), "take.paused", "take.written"],
    "describe": _committed("snapshot.update"),
    "drop": [*_committed("snapshot.delete"), *_stepped("drop"), "drop.unlisted"],
    "revert": [*_committed("snapshot.restore"), *_stepped("revert"), "revert.made", "revert.unpacked"],
    "clone": [*_committed("session.clone"), *_stepped("clone")],
}
"""Operation → the points that it passes."""


class SnapshotStories:
    """Operations on snapshots of a session that has one already."""

    system: Faulty
    _snapshotted = ""

    def snapshot(self, point: str, mode: str) -> None:
        """A snapshot of a running session, once, whatever dies; the session runs on."""
        name, snapshot = self._with_snapshot(), unique("n")
        with self.system.struck(point, mode):
            self._take(name, snapshot)
        assert [one.id for one in self._listed(name)].count(snapshot) == 1
        self.system.require_file(name, "kept")
        self._drop(name, snapshot)

    def describe(self, point: str, mode: str) -> None:
        """A description is changed."""
        name, text = self._with_snapshot(), unique("d")
        with self.system.struck(point, mode):
            change = SnapshotChange(description=text)
            self.system.answered(lambda client: client.update_snapshot(name, "one", change))
        assert [one.description for one in self._listed(name) if one.id == "one"] == [text]

    def drop(self, point: str, mode: str) -> None:
        """A snapshot is deleted; nothing of it stays on the machine."""
        name, snapshot = self._with_snapshot(), unique("n")
        uid = self._take(name, snapshot).uid
        with self.system.struck(point, mode):
            self._drop(name, snapshot)
        until("its files are gone", lambda: not [*self._archives().glob(f"*{uid}*")])

    def revert(self, point: str, mode: str) -> None:
        """A restore in place: the files of the snapshot are there, and those before it are a snapshot."""
        name = self._with_snapshot()
        self.system.write_file(name, "changed")
        with self.system.struck(point, mode):
            self.system.answered(lambda client: client.restore_snapshot(name, "one"))
            session = self._reverted(name)
        assert session.restore is not None
        assert session.restore.state is RestoreState.DONE, session.restore.message
        self.system.require_file(name, "kept")
        previous = next(one for one in self._listed(name) if one.uid == session.restore.previous)
        assert previous.state is SnapshotState.READY
        self._drop(name, previous.id)

    def clone(self, point: str, mode: str) -> None:
        """A clone of the present state: one session, with the files."""
        name, made = self._with_snapshot(), unique("c")
        with self.system.struck(point, mode):
            self.system.answered(lambda client: client.clone_session(name, made))
            self.system.settled(made)
        self.system.require_file(made, "kept")
        self.system.answered(lambda client: client.delete_session(made))
        assert self.system.settled(made) is None

    def _with_snapshot(self) -> str:
        """A running session with a file "kept", and a snapshot "one" of that."""
        if not self._snapshotted:
            self._snapshotted = self._made(unique("s"))
            self._take(self._snapshotted, "one")
        return self._snapshotted

    def _made(self, name: str, image: str = "") -> str:
        raise NotImplementedError

    def _take(self, name: str, snapshot: str) -> Snapshot:
        self.system.answered(lambda client: client.create_snapshot(name, SnapshotDraft(snapshot)))
        until(f"snapshot {snapshot} is ready", lambda: self._get(name, snapshot).state is SnapshotState.READY)
        return self._get(name, snapshot)

    def _drop(self, name: str, snapshot: str) -> None:
        try:
            self.system.answered(lambda client: client.delete_snapshot(name, snapshot))
        except NotFound:  # the answer was lost, and it is gone already
            return
        until("the snapshot is gone", lambda: snapshot not in [one.id for one in self._listed(name)])

    def _reverted(self, name: str) -> Session:
        def reverted() -> bool:
            restore = self.system.answered(lambda client: client.get_session(name)).restore
            return restore is not None and restore.state is not RestoreState.PENDING

        until(f"session {name} is restored", reverted)
        session = self.system.settled(name)
        assert session is not None
        return session

    def _get(self, name: str, snapshot: str) -> Snapshot:
        return self.system.answered(lambda client: client.get_snapshot(name, snapshot))

    def _listed(self, name: str) -> list[Snapshot]:
        return self.system.answered(lambda client: list(client.list_snapshots(name)))

    def _archives(self) -> Path:
        return self.system.state / "runner/copies/snapshots"
