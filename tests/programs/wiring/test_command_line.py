from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import click
import pytest

from netvps.cli.machine.program_command import ProgramCommand
from netvps.errors import ConfigError, TimedOut, Unavailable
from netvps.process.readiness import Outcome, Readiness, await_outcome
from netvps.programs.wiring.command_line import Program, launch
from netvps.settings import RunnerSettings, ServerSettings


def _program(run: Callable[..., Coroutine[Any, Any, None]], *settings: Any) -> Program:
    names = [kind.__name__ for kind in settings or (ServerSettings,)]
    return Program(ProgramCommand("test", module="test", summary="Tests.", settings=names), run)


def _raising(error: BaseException) -> Program:
    async def run(_settings: ServerSettings, _readiness: Readiness) -> None:
        raise error

    return _program(run)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("port 2222 is taken: choose another"), 10),
        (Unavailable("Docker is away: start it"), 7),
        (TimedOut("too slow: wait"), 8),
        (OSError(errno.ENOSPC, "No space left on device", "/s/up.pid"), 6),
        (ExceptionGroup("two", [ExceptionGroup("one", [ConfigError("port 2222 is taken: choose another")])]), 10),
    ],
)
def test_an_error_is_one_line_and_its_code(error: Exception, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert launch(_raising(error), []) == code
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("netvps test: ")
    assert output.err.count("\n") == 1


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), ExceptionGroup("x", [ZeroDivisionError("x")])])
def test_a_bug_is_one_line_and_its_traceback_goes_to_the_log(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch(_raising(error), []) == 1
    *log, line = capsys.readouterr().err.splitlines()
    assert "a bug of netvps" in line
    assert "ZeroDivisionError" in "".join(log)


def test_settings_come_from_flags() -> None:
    seen: list[object] = []

    async def run(server: ServerSettings, runner: RunnerSettings, _readiness: Readiness) -> None:
        seen.append((server.ssh_port, server.drain, runner.name, str(runner.state_dir)))

    arguments = ["--ssh-port", "22", "--name", "box1", "--state-dir", "/s"]
    assert launch(_program(run, ServerSettings, RunnerSettings), arguments) == 0
    assert seen == [(22, 30.0, "box1", "/s")]


def test_a_wrong_flag_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        launch(_raising(AssertionError()), ["--ssh-port", "x"])
    assert ended.value.code == 2
    assert "--ssh-port: 'x'" in capsys.readouterr().err


def test_a_wrong_variable_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NETVPS_SSH_PORT", "x")
    assert launch(_raising(AssertionError()), []) == 10
    assert "ssh_port: 'x'" in capsys.readouterr().err


def test_the_outcome_is_reported_to_whoever_started_it() -> None:
    reading, writing = os.pipe()
    launch(_raising(ConfigError("no")), ["--ready-fd", str(writing)])
    assert asyncio.run(await_outcome(reading)) == Outcome("no", 10)


def test_a_program_does_not_outlive_its_parent(capsys: pytest.CaptureFixture[str]) -> None:
    assert launch(_raising(AssertionError()), ["--parent", "1"]) == 7
    assert "is gone" in capsys.readouterr().err


def _keeping(run: Callable[..., Coroutine[Any, Any, None]]) -> Program:
    params = [click.Option(["--reset-flags"], is_flag=True)]
    settings = ["ServerSettings"]
    command = ProgramCommand(
        "test", module="test", summary="Tests.", settings=settings, in_background=True, params=params
    )
    return Program(command, run)


def test_flags_are_kept_once_it_serves_and_used_by_the_next_start(tmp_path: Path) -> None:
    seen: list[ServerSettings] = []

    async def run(settings: ServerSettings, readiness: Readiness) -> None:
        seen.append(settings)
        readiness.ready()

    start = ["--foreground", "--state-dir", str(tmp_path)]
    for flags in (["--listen", "::1", "--ssh-port", "22"], ["--ssh-port", "23"], ["--reset-flags"]):
        assert launch(_keeping(run), [*start, *flags]) == 0
    assert [(settings.listen, settings.ssh_port) for settings in seen] == [
        ("::1", 22),
        ("::1", 23),
        ("127.0.0.1", 2222),
    ]


def test_flags_of_a_start_that_failed_are_not_kept(tmp_path: Path) -> None:
    async def run(_settings: ServerSettings, _readiness: Readiness) -> None:
        raise ConfigError("port 22 is taken: choose another")

    assert launch(_keeping(run), ["--foreground", "--state-dir", str(tmp_path), "--ssh-port", "22"]) == 10
    assert not (tmp_path / "up.json").exists()
