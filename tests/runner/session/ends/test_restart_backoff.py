"""Run after run of one container."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from netvps.adapters.docker.client import Answer, Api
from netvps.domain.session.container import Container, Status
from netvps.domain.session.session import DesiredState, LastExit, SessionState
from netvps.domain.session.spec import Network, SessionSpec
from netvps.runner.session.ends.restart_backoff import RestartBackoff, boot_time
from tests.runner.lab import Lab

START = datetime(2026, 11, 21, 8, tzinfo=UTC)
RUNS = Container("c", Status.RUNNING, 1, started=START)


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def ended(seconds: float, *, oom: bool = False) -> Container:
    return replace(RUNS, status=Status.EXITED, ended=after(seconds), exit_code=137, oom_killed=oom)


def test_the_machine_started_when_the_kernel_says(tmp_path: Path) -> None:
    assert boot_time(tmp_path) is None
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/stat").write_text("cpu  1 2 3\nbtime 1795248000\nprocesses 7\n")
    assert boot_time(tmp_path) == datetime(2026, 11, 21, 8, tzinfo=UTC)
    real = boot_time()
    assert real is not None
    assert real < datetime.now(UTC)


def test_what_ran_when_the_machine_went_down_ended_with_it() -> None:
    exits = RestartBackoff(after(100))
    exits.observe(ended(50), asked=False, now=after(120))
    assert exits.last is not None
    assert exits.last.cause == "runner_lost"


def test_one_that_was_held_ended_as_asked_whatever_is_desired_by_now() -> None:
    exits = RestartBackoff()
    exits.started(RUNS, after(0))
    exits.observe(replace(RUNS, ending=True, held=True), asked=True, now=after(1))
    exits.observe(ended(2), asked=False, now=after(2))
    assert exits.last is not None
    assert exits.last.cause == "stopped"
    assert exits.wait(after(2)) == 0


def test_one_that_was_held_when_it_is_started_ended_as_asked() -> None:
    exits = RestartBackoff()
    exits.observe(held := replace(RUNS, ending=True, held=True), asked=True, now=after(1))
    exits.started(held, after(2))
    exits.observe(replace(RUNS, started=after(2)), asked=False, now=after(3))
    assert exits.last == LastExit(exit_code=0, cause="stopped", end_time=after(2))


def test_one_that_keeps_ending_waits_longer_until_it_ran_for_a_minute() -> None:
    exits = RestartBackoff()
    waits = []
    for number in range(1, 9):
        exits.started(RUNS, after(0))
        exits.observe(ended(number), asked=False, now=after(number))
        waits.append(exits.wait(after(number)))
    assert 1 <= waits[0] <= 2
    assert 30 <= waits[-1] <= 60
    exits.observe(replace(RUNS, started=after(100)), asked=False, now=after(100))
    exits.observe(replace(ended(200), started=after(100)), asked=False, now=after(200))
    assert exits.wait(after(200)) <= 2


def test_a_clock_that_is_set_back_makes_no_one_wait_for_it() -> None:
    exits = RestartBackoff()
    exits.started(RUNS, after(0))
    exits.observe(ended(5), asked=False, now=after(5))
    assert exits.wait(after(5)) > 0
    assert exits.wait(after(-3600)) == 0


def test_what_ended_before_we_came_starts_at_once() -> None:
    exits = RestartBackoff()
    exits.observe(ended(5), asked=False, now=after(9))
    assert exits.wait(after(9)) == 0
    assert exits.last is not None


def test_an_oom_kill_that_was_survived_long_ago_is_not_the_cause() -> None:
    exits = RestartBackoff()
    exits.observe(replace(RUNS, oom_killed=True, oom_kills=1), asked=False, now=after(10))
    exits.observe(ended(3600, oom=True), asked=False, now=after(3600))
    assert exits.last is not None
    assert exits.last.cause == "killed"


def test_an_oom_kill_just_before_the_end_is() -> None:
    exits = RestartBackoff()
    exits.observe(replace(RUNS, oom_killed=True, oom_kills=1), asked=False, now=after(10))
    exits.observe(replace(RUNS, oom_killed=True, oom_kills=2), asked=False, now=after(3599))
    exits.observe(ended(3600, oom=True), asked=False, now=after(3600))
    assert exits.last is not None
    assert exits.last.cause == "oom"


@pytest.mark.docker
async def test_death_by_memory_is_reported_as_such(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where Docker lost the event, as it does if the container's end overtakes it."""
    if os.access("/dev/kmsg", os.R_OK):
        inspect = type(lab.api).inspect_container

        def forgetful(api: Api, container: str) -> Answer:
            found: Answer = inspect(api, container)
            return {**found, "State": {**found["State"], "OOMKilled": False}}

        monkeypatch.setattr(type(lab.api), "inspect_container", forgetful)
    # In place of the agent, a first process that eats all there is: then it is that one which is killed.
    lab.settings.agent.rename(hidden := lab.settings.agent.with_name("real"))
    try:
        lab.settings.agent.write_text("#!/bin/sh\nsleep 1; x=aaaaaaaaaaaaaaaa; while :; do x=$x$x; done\n")
        assignment = lab.session(SessionSpec(image=lab.image, network=Network.NONE, memory_bytes=16 << 20))
        lab.link.assign(assignment)
        async with lab.runner():
            await lab.link.until(lambda: bool(lab.link.reports) and lab.link.reports[-1].last_exit is not None)
            last = lab.link.reports[-1].last_exit
            assert last is not None
            assert (last.cause, last.exit_code) == ("oom", 137)
            await lab.link.reported(lab.next(assignment, DesiredState.DELETED), SessionState.DELETED)
    finally:
        hidden.rename(lab.settings.agent)
