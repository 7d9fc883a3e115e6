"""What the files of sessions have to be, also after a snapshot was restored, cloned, or started from."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from netvps.domain.snapshot.snapshot import Snapshot

LINE: Final = "1"
"""What is known of a line: it is there once."""
_AROUND: Final = 3.0
"""Seconds before and after the times of a snapshot in which its files may have been read."""


@dataclass(frozen=True)
class _Entry:
    since: float
    """Unix time."""
    files: dict[str, str]


class Ledger:
    """Of each session: what was acknowledged, at each time; of any number of threads."""

    def __init__(self) -> None:
        self._entries: dict[str, list[_Entry]] = defaultdict(list)
        self._taken: dict[str, dict[str, str]] = {}
        self._undone: dict[str, set[str]] = defaultdict(set)
        self._lock = threading.Lock()

    def required(self, uid: str) -> dict[str, str]:
        """Each file and its hash, each line and LINE."""
        with self._lock:
            return dict(self._latest(uid))

    def undone(self, uid: str) -> set[str]:
        """Lines that must not be there: a restore took them back."""
        with self._lock:
            return set(self._undone[uid])

    def acknowledge(self, uid: str, written: dict[str, str]) -> None:
        """More was written."""
        with self._lock:
            self._note(uid, self._latest(uid) | written)

    def taken(self, snapshot: Snapshot) -> None:
        """A snapshot was taken while nothing was written: it holds just what is required now."""
        with self._lock:
            self._taken[snapshot.uid] = self._latest(snapshot.session)

    def knows(self, snapshot: Snapshot) -> bool:
        """Whether all that a snapshot holds is known."""
        with self._lock:
            return snapshot.uid in self._taken

    def held_by(self, snapshot: Snapshot) -> dict[str, str]:
        """What a snapshot holds at least: what was required all the time in which it may have been taken."""
        first = snapshot.create_time.timestamp() - _AROUND
        last = (snapshot.ready_time or snapshot.create_time).timestamp() + _AROUND
        with self._lock:
            if snapshot.uid in self._taken:
                return dict(self._taken[snapshot.uid])
            entries = self._entries[snapshot.session]
            before = [one.files for one in entries if one.since <= first]
            meanwhile = [one.files for one in entries if first < one.since <= last]
        return common([*(before[-1:] or [{}]), *meanwhile])

    def restored(self, uid: str, files: dict[str, str]) -> None:
        """It has the files of a snapshot that was taken while nothing was written, and none that came later."""
        with self._lock:
            lost = {what for what, value in self._latest(uid).items() if value == LINE and what not in files}
            self._undone[uid] = (self._undone[uid] | lost) - files.keys()
            self._note(uid, files)

    def copied(self, uid: str, files: dict[str, str]) -> None:
        """It was made from a snapshot that holds these, and maybe more."""
        with self._lock:
            self._undone[uid].clear()
            self._note(uid, files)

    def size(self) -> int:
        """How much is required, of all sessions."""
        with self._lock:
            return sum(len(entries[-1].files) for entries in self._entries.values() if entries)

    def _latest(self, uid: str) -> dict[str, str]:
        entries = self._entries[uid]
        return entries[-1].files if entries else {}

    def _note(self, uid: str, files: dict[str, str]) -> None:
        self._entries[uid].append(_Entry(time.time(), files))


def common(many: list[dict[str, str]]) -> dict[str, str]:
    """What all of them say; of at least one."""
    first, *rest = many
    return {what: value for what, value in first.items() if all(one.get(what) == value for one in rest)}
