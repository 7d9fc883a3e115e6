"""Logs outlive their container, up to a MiB."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from netvps.domain.runner.runner import LogRequest
from netvps.errors import NetvpsError, NotFound, Unavailable
from netvps.runner.session.logs import MAX_KEPT, KeptLogs, log_pieces


class Engine:
    """`logs` of an engine: much of it, or an error."""

    def __init__(self, error: NetvpsError | None = None) -> None:
        self.error = error

    async def logs(
        self, session_uid: str, tail_lines: int, *, follow: bool, since: datetime | None = None
    ) -> AsyncGenerator[bytes, None]:
        for number in range(0 if self.error else 40):
            yield (b"%d" % number * 40_000)[: 60_000 - 1] + b"\n"
        if self.error:
            raise self.error


async def test_the_end_is_kept_and_sent_in_pieces(tmp_path: Path) -> None:
    kept = KeptLogs(tmp_path / "logs")
    await kept.save("u", Engine().logs)
    assert (tmp_path / "logs/u.log").stat().st_size == MAX_KEPT
    pieces = [
        piece
        async for piece in log_pieces(
            LogRequest("s", "u", 2, follow=False), kept, Engine(NotFound("no container")).logs
        )
    ]
    assert b"".join(pieces).count(b"\n") == 2
    assert max(map(len, pieces)) <= 64 * 1024
    kept.remove("u")
    kept.remove("u")
    with pytest.raises(NotFound, match="no logs yet"):
        kept.read("u", 2)


async def test_logs_that_cannot_be_read_do_not_fail_a_stop(tmp_path: Path) -> None:
    await KeptLogs(tmp_path).save("u", Engine(Unavailable("no engine")).logs)
    assert list(tmp_path.iterdir()) == []


async def test_what_was_kept_before_the_time_asked_for_is_left_out(tmp_path: Path) -> None:
    kept = KeptLogs(tmp_path)
    await kept.save("u", Engine().logs)
    now = datetime.now(UTC)
    assert kept.read("u", 2, now - timedelta(hours=1)).count(b"\n") == 2
    assert kept.read("u", 2, now + timedelta(hours=1)) == b""
