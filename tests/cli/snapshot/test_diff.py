"""`netvps diff` and `netvps snapshot diff`."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from netvps.cli.server import connect
from netvps.domain.snapshot.diff import ChangeKind, Count, Diff, FolderChange, PathChange
from tests.cli.conftest import Run
from tests.cli.fake_client import FakeClient

DIFF = Diff(
    (
        PathChange("/var/lib/big", ChangeKind.ADDED, 5 << 20),
        PathChange("/var/cache/x", ChangeKind.CHANGED, 1024, excluded=True),
    ),
    (FolderChange("/var/lib", 1, 5 << 20),),
    Count(1, 5 << 20),
    Count(),
    Count(2),
    Count(1, 1024),
)  # fmt: skip


@dataclass
class Server(FakeClient):
    """A server that knows one difference."""

    diff: Diff = DIFF

    def diff_session(
        self, session: str, *, from_id: str = "", to_id: str = "", max_paths: int = 0, folder_depth: int = 0
    ) -> Diff:
        self._ask("diff_session", session, from_id, to_id, max_paths, folder_depth)
        return self.diff


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(connect, "dial", lambda _context: made)
    return made


def test_what_a_snapshot_would_hold_is_printed_biggest_first(run: Run, server: Server) -> None:
    ran = run("diff", "dev1", "-n", "9", "--depth", "3")
    assert server.asked == [("diff_session", "dev1", "", "", 9, 3)]
    lines = [line.split() for line in ran.out.splitlines()]
    assert lines == [
        ["SIZE", "PATHS", "FOLDER"],
        ["5M", "1", "/var/lib"],
        [],
        ["SIZE", "KIND", "PATH"],
        ["5M", "A", "/var/lib/big"],
        ["1K", "C", "excluded", "/var/cache/x"],
    ]
    assert ran.err == "1 added (5M), 2 removed; a snapshot leaves out 1 excluded (1K)\n"


def test_two_snapshots_are_compared_and_programs_get_json(run: Run, server: Server) -> None:
    ran = run("snapshot", "diff", "dev1", "one", "two", "-o", "json")
    assert server.asked == [("diff_session", "dev1", "one", "two", 20, 2)]
    found = json.loads(ran.out)
    assert found["paths"][0] == {"path": "/var/lib/big", "kind": "PATH_CHANGE_KIND_ADDED", "sizeBytes": "5242880"}


def test_a_difference_that_is_not_whole_says_so(run: Run, server: Server) -> None:
    server.diff = Diff(DIFF.paths, DIFF.folders, DIFF.added, incomplete=True)
    assert run("diff", "dev1").err.startswith("at least 1 added (5M)\nnetvps: warning: not everything was compared")
    server.diff = Diff()
    ran = run("diff", "dev1")
    assert (ran.out, ran.err) == ("", "nothing differs\n")
