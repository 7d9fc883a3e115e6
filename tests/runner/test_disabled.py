"""A runner without an engine."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from netvps.domain.runner.runner import Capacity, LogRequest
from netvps.domain.session.session import Assignment, DesiredState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import ConfigError
from netvps.runner.assignment_store import AssignmentStore
from netvps.runner.runner import Runner
from netvps.runner.settings import RunnerSettings
from netvps.tasks import Tasks
from tests.runner.lab import ScriptedLink


@pytest.fixture
def settings(tmp_path: Path) -> RunnerSettings:
    agent = tmp_path / "program"
    agent.write_bytes(b"agent")
    return RunnerSettings("r1", "here", "1", tmp_path, tmp_path / "run", agent, "192.0.2.9:7444")


ASSIGNMENT = Assignment("s1", "dev", "alice", 1, 1, DesiredState.RUNNING, SessionSpec(), None, 1)


async def test_it_is_connected_and_runs_nothing(settings: RunnerSettings) -> None:
    link = ScriptedLink()
    async with Tasks() as tasks:
        tasks.start(Runner(link, None, settings).run(), name="runner")
        await link.until(lambda: link.heartbeats > 0 or link.connections > 0)
        link.request(LogRequest("l1", "s1", 10, follow=False))
        await link.until(lambda: "l1" in link.log_errors)
        assert link.hellos[-1].no_sessions
        assert link.hellos[-1].capacity == Capacity()
    assert "never ran on this runner" in link.log_errors["l1"]
    assert link.reports == []


async def test_it_does_not_start_while_sessions_are_assigned_to_it(settings: RunnerSettings) -> None:
    kept = asyncio.Event()
    store = AssignmentStore(settings.state_dir / "assignments.json")
    async with Tasks() as tasks:
        tasks.start(store.run(), name="store")
        store.save(ASSIGNMENT, kept.set)
        await kept.wait()
    with pytest.raises(ConfigError, match="this runner has 1 sessions: start it without --no-sessions"):
        Runner(ScriptedLink(), None, settings)
