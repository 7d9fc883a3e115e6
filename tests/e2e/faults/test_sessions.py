"""The plan's scenarios (tests/domain/session/test_container.py) on a real engine, with a real runner, in any order.

The owner changes their mind, the container ends or is paused behind the runner's back, the runner dies, the control
plane goes away: whatever was written stays, and in the end all is as wanted, and nothing is left.

By itself it tells three short stories, always the same; NETVPS_FULL=1 has it tell thirty long ones, new each time.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import docker.errors
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from netvps.adapters.docker.client import Docker
from netvps.domain.runner.docker_names import container_name
from netvps.domain.session.session import DesiredState, SessionState
from netvps.process.agent_program import agent_program
from tests.runner.lab import Lab
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Coroutine

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
T = TypeVar("T")
GOAL = {DesiredState.RUNNING: SessionState.RUNNING, DesiredState.STOPPED: SessionState.STOPPED}
LOG = "/root/written"
FULL = bool(os.environ.get("NETVPS_FULL"))


class OnTheEngine(RuleBasedStateMachine):
    """One session, from its beginning to its end."""

    image: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(prefix="nvm"))  # short: there are sockets in it
        self.docker = Docker()
        self.lab = Lab(self.docker, self.folder, agent_program(), self.image)
        self.assignment = self.lab.session()
        self.lab.link.assign(self.assignment)
        self.lines = 0
        self.process = AsyncExitStack()
        self.run(self._start())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run(work)

    @rule(desired=st.sampled_from([DesiredState.RUNNING, DesiredState.STOPPED]))
    def the_owner_wants(self, desired: DesiredState) -> None:
        self.assignment = self.lab.next(self.assignment, desired)

    @rule()
    def all_is_as_wanted(self) -> None:
        """Then, if it runs, all that was written is there, and one line more is written."""
        self.run(self.lab.link.reported(self.assignment, GOAL[self.assignment.desired]))
        if self.assignment.desired is DesiredState.RUNNING:
            self.run(self._write())

    @rule(milliseconds=st.sampled_from([0, 50, 300]))
    def time_passes(self, milliseconds: int) -> None:
        """So that what comes next strikes in the middle of something."""
        self.run(asyncio.sleep(milliseconds / 1000))

    @rule(how=st.sampled_from(["kill", "pause"]))
    def the_container_is_struck(self, how: str) -> None:
        name = container_name(self.assignment.session_uid)

        def strike() -> None:
            with suppress(docker.errors.APIError):  # it does not run now, or there is none
                getattr(self.lab.api, how)(name)

        self.run(asyncio.to_thread(strike))

    @rule()
    def the_runner_dies(self) -> None:
        self.run(self.process.aclose())
        self.run(self._start())

    @rule()
    def the_connection_breaks(self) -> None:
        self.lab.link.hang_up()

    def teardown(self) -> None:
        try:
            self.the_owner_wants(DesiredState.STOPPED)
            self.all_is_as_wanted()
            self.the_owner_wants(DesiredState.RUNNING)
            self.all_is_as_wanted()
            gone = self.lab.next(self.assignment, DesiredState.DELETED)
            self.run(self.lab.link.reported(gone, SessionState.DELETED))
            assert self.run(self.lab.traces()) == []
        finally:
            self.run(self._end())
            self.loop.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    async def _start(self) -> None:
        await self.process.enter_async_context(self.lab.runner())

    async def _write(self) -> None:
        """Again if the container is struck, or restarts, at that very moment."""
        command = f"touch {LOG}; grep -qx {self.lines} {LOG} || echo {self.lines} >> {LOG}; sync; cat {LOG}; echo end"
        self.lines += 1
        async with asyncio.timeout(PATIENCE):
            while (said := await self._said(command)) is None:
                await asyncio.sleep(0.1)
        assert said == [str(number) for number in range(self.lines)], "something that was written is lost"

    async def _said(self, command: str) -> list[str] | None:
        """None if the command did not run to its end; Docker does not always tell, if its container is struck."""
        try:
            *said, end = (await self.lab.run_in(self.assignment, "sh", "-c", command)).splitlines() or [""]
        except (docker.errors.APIError, AssertionError):
            return None
        return said if end == "end" else None

    async def _end(self) -> None:
        await self.process.aclose()
        await self.lab.sweep()
        self.docker.close()


def test_whatever_happens_nothing_is_lost_and_nothing_is_left(busybox: str) -> None:
    OnTheEngine.image = busybox
    run_state_machine_as_test(
        OnTheEngine,
        settings=settings(
            max_examples=30 if FULL else 3,
            stateful_step_count=20 if FULL else 8,
            deadline=None,
            derandomize=not FULL,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
