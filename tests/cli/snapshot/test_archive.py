"""`netvps snapshot export` and `netvps snapshot import`."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from netvps import exit_codes
from netvps.cli.server import connect
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotCause, SnapshotDraft, SnapshotState
from netvps.errors import DataLoss
from tests.cli.conftest import Run
from tests.cli.fake_client import NOW, FakeClient


@dataclass
class Server(FakeClient):
    """A server with one archive; it may fail half-way."""

    pieces: list[bytes] = field(default_factory=lambda: [b"one", b"two"])
    breaks: bool = False
    taken_in: bytes = b""

    def export_snapshot(self, session: str, snapshot: str) -> Generator[bytes, None, None]:
        self._ask("export_snapshot", session, snapshot)
        yield from self.pieces
        if self.breaks:
            raise DataLoss("the snapshot's files on the runner are damaged")

    def import_snapshot(self, session: str, draft: SnapshotDraft, archive: Iterator[bytes]) -> Snapshot:
        self._ask("import_snapshot", session, draft)
        self.taken_in = b"".join(archive)
        return Snapshot(
            "u", "s", session, "alice", draft.id or "now", SnapshotCause.IMPORT, NOW, NOW, SnapshotState.READY
        )  # fmt: skip


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()
    monkeypatch.setattr(connect, "dial", lambda _context: made)
    return made


def test_a_file_is_written_whole_or_not_at_all(run: Run, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "x.tar.zst"
    ran = run("snapshot", "export", "dev1", "one", str(file))
    assert (ran.code, file.read_bytes(), file.stat().st_mode & 0o777) == (0, b"onetwo", 0o600)
    assert ran.err == f"snapshot one of session dev1 is in {file}, 6\n"
    assert run("snapshot", "export", "dev1", "one", str(file)).code == exit_codes.CONFLICT
    server.pieces, server.breaks = [b"half"], True
    assert run("snapshot", "export", "dev1", "one", str(file), "--force").code != 0
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("x.tar.zst", b"onetwo")]


def test_a_file_is_imported_as_a_snapshot(run: Run, server: Server, tmp_path: Path) -> None:
    file = tmp_path / "x.tar.zst"
    file.write_bytes(b"y" * 100_000)
    ran = run("snapshot", "import", "dev1", str(file), "in", "-d", "from afar", "-l", "a=b", "--pin")
    assert (ran.code, ran.out) == (0, "in\n")
    assert server.asked == [("import_snapshot", "dev1", SnapshotDraft("in", "from afar", {"a": "b"}, pinned=True))]
    assert server.taken_in == b"y" * 100_000


def test_a_file_that_cannot_be_read_or_written_is_named(run: Run, server: Server, tmp_path: Path) -> None:
    missing = tmp_path / "none"
    assert f"cannot read {missing}: No such file" in run("snapshot", "import", "dev1", str(missing)).err
    assert f"cannot write {missing}/x: No such file" in run("snapshot", "export", "dev1", "one", f"{missing}/x").err
    assert server.asked == []
