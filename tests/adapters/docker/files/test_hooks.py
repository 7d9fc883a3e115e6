"""What netvps.adapters.docker.files.hooks believes of what a container says; a runner tests the rest on an engine."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import docker.errors
import pytest

from netvps.adapters.docker.files import hooks
from netvps.adapters.docker.files.hooks import run_before_snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netvps.adapters.docker.client import Api


class Stream:
    """The output of a process, which ends, or goes on until it is closed."""

    def __init__(self, pieces: list[bytes], *, ends: bool) -> None:
        self._pieces, self._ends = pieces, ends
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        yield from self._pieces
        if not self._ends:
            assert self.closed.wait(30)

    def close(self) -> None:
        self.closed.set()


class Engine:
    """Docker's part."""

    def __init__(self, *pieces: bytes, ends: bool = True, code: int = 0, error: str = "") -> None:
        self.stream, self.code, self.error = Stream([*pieces], ends=ends), code, error

    def exec_create(self, container: str, argv: list[str], **options: Any) -> dict[str, str]:
        assert (container, argv, options) == (
            "c" * 64,
            ["/.netvps/agent", "pre-snapshot"],
            {"user": "0", "tty": True},
        )
        if self.error:
            raise docker.errors.APIError(self.error)
        return {"Id": "e"}

    def exec_start(self, exec_id: str, **_: Any) -> Stream:
        return self.stream

    def exec_inspect(self, exec_id: str) -> dict[str, int]:
        return {"ExitCode": self.code}


def ran(engine: Engine, *, given_up: bool = False) -> tuple[str, ...]:
    return run_before_snapshot(cast("Api", engine), "c" * 64, lambda: given_up)


def test_each_line_is_a_warning_without_what_steers_a_terminal() -> None:
    assert ran(Engine(b"pre-snapshot hook 10-db: exit", b" status 3\r\n\r\nx\x1b[2J\r\n")) == (
        "pre-snapshot hook 10-db: exit status 3",
        r"x\x1b[2J",
    )
    assert ran(Engine()) == ()


def test_of_much_output_little_is_read() -> None:
    warnings = ran(Engine(*[b"x" * 1000 + b"\n"] * 100))
    assert len(warnings) <= 20
    assert max(map(len, warnings)) <= 201


def test_an_older_agent_has_no_hooks() -> None:
    assert ran(Engine(b"agent: unknown command\n", code=1)) == ()


def test_what_does_not_start_or_end_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "_LOOK", 0.01)
    assert ran(Engine(error="no memory")) == ("its pre-snapshot hooks were not run: Docker started no process in it",)
    monkeypatch.setattr(hooks, "_LIMIT", 0.05)
    assert ran(Engine(b"x", ends=False)) == ("its pre-snapshot hooks did not end within 0 s",)


def test_hooks_are_not_awaited_for_a_snapshot_that_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hooks, "_LOOK", 0.01)
    assert ran(Engine(b"x", ends=False), given_up=True) == ()
