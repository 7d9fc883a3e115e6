from __future__ import annotations

import pytest

from netvps.domain.session.session import Assignment, DesiredState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import NetvpsError, Unavailable
from netvps.runner.session import tidying
from netvps.runner.session.tidying import Tidying

WANT = Assignment("0" * 13, "dev1", "alice", 1, 1, DesiredState.RUNNING, SessionSpec(image="debian:12"), None, 1)


class CountingEngine:
    def __init__(self) -> None:
        self.calls = 0
        self.fails: NetvpsError | None = None

    async def tidy(self, assignment: Assignment) -> None:
        assert assignment == WANT
        self.calls += 1
        if self.fails:
            raise self.fails


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> CountingEngine:
    monkeypatch.setattr(tidying, "TIDY_AGAIN", 1e-9)  # due at once, and not 0, which means never
    return CountingEngine()


async def test_remains_are_looked_for_twice_and_again_after_a_doubt(engine: CountingEngine) -> None:
    remains = Tidying(engine)  # type: ignore[arg-type]
    assert [await remains.tidy(WANT, busy=False) for _ in range(3)] == [1e-9, None, None]
    assert engine.calls == 2
    remains.doubt()
    assert [await remains.tidy(WANT, busy=False) for _ in range(3)] == [1e-9, None, None]
    assert engine.calls == 4


async def test_remains_are_kept_while_a_snapshot_is_made(engine: CountingEngine) -> None:
    assert await Tidying(engine).tidy(WANT, busy=True) == 1e-9  # type: ignore[arg-type]
    assert engine.calls == 0


async def test_a_failure_is_tried_again(engine: CountingEngine) -> None:
    remains, engine.fails = Tidying(engine), Unavailable("Docker is away")  # type: ignore[arg-type]
    assert [await remains.tidy(WANT, busy=False) for _ in range(3)] == [1e-9] * 3
    engine.fails = None
    assert await remains.tidy(WANT, busy=False) is None
