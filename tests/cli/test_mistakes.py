"""Deliberate mistakes against a whole API server: one line that says what, why, and a remedy that works."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest

from netvps.cli.app import root
from tests.cli.conftest import Ran, Run
from tests.cli.mistakes import MISTAKES, OF_A_USER, WITHOUT_A_SERVER
from tests.rpc.site import ROOT, Site, open_site

_COMMAND = re.compile(r"(?:`netvps ([^`]*)`|\bnetvps ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?))")


@dataclass(frozen=True)
class Served:
    """Where the server is, and how alice comes to it."""

    socket: str
    context: str
    """Of alice, as the CLI stores it."""


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    """A server on another thread, with session dev1 on runner lab1, and users root, alice and bob."""
    found: list[Served] = []
    ready, loop = threading.Event(), asyncio.new_event_loop()
    stop = asyncio.Event()

    async def serve() -> None:
        async with open_site() as site:
            await site.running("dev1", ROOT)
            found.append(await _served(site))
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield found[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()


async def _served(site: Site) -> Served:
    remote = await site.remote("alice")
    context = {
        "name": "alice",
        "address": remote.address,
        "ca_certificate": remote.ca_certificate,
        "api_key": remote.api_key,
    }
    return Served(f"{site.folder}/api.sock", json.dumps(context))


@pytest.fixture
def mistaken(run: Run, monkeypatch: pytest.MonkeyPatch, served: Served) -> Iterator[Run]:
    """Runs a line as root, without a terminal."""
    monkeypatch.setenv("NETVPS_SOCKET", served.socket)
    with Path(os.devnull).open(encoding="utf-8") as empty:
        monkeypatch.setattr(sys, "stdin", empty)
        yield run


@pytest.mark.parametrize(("line", "code", "shown"), MISTAKES, ids=[line for line, *_ in MISTAKES])
def test_a_mistake_is_one_line_with_a_remedy(line: str, code: int, shown: str, mistaken: Run) -> None:
    _check(mistaken(*shlex.split(line)), code, shown)


@pytest.mark.parametrize(("line", "code", "shown"), OF_A_USER, ids=[line for line, *_ in OF_A_USER])
def test_so_is_what_a_user_may_not(
    line: str, code: int, shown: str, mistaken: Run, *, served: Served, home: Path
) -> None:
    contexts = home / "config/contexts"
    contexts.mkdir(parents=True)
    (contexts / "alice.json").write_text(served.context)
    _check(mistaken("--context", "alice", *shlex.split(line)), code, shown)


@pytest.mark.parametrize(("line", "code", "shown"), WITHOUT_A_SERVER, ids=[line for line, *_ in WITHOUT_A_SERVER])
def test_so_is_what_needs_a_server_where_there_is_none(line: str, code: int, shown: str, run: Run) -> None:
    _check(run(*shlex.split(line)), code, shown)


def test_there_are_as_many_as_were_tried() -> None:
    lines = [line for line, *_ in (*MISTAKES, *OF_A_USER, *WITHOUT_A_SERVER)]
    assert len(set(lines)) == len(lines) >= 64


def _check(ran: Ran, code: int, shown: str) -> None:
    lines = [line for line in ran.err.splitlines() if line.startswith("netvps: ")]
    assert (ran.code, len(lines)) == (code, 1), ran
    assert lines[0].removeprefix("netvps: ").startswith(shown)
    for quoted, bare in _COMMAND.findall(lines[0].removeprefix("netvps: ")):
        _require_command((quoted or bare).split())


def _require_command(words: list[str]) -> None:
    """The command that a message names exists, with its options."""
    found = click.Context(root, info_name="netvps")
    while words and isinstance(found.command, click.Group) and not words[0].startswith("-"):
        command = found.command.get_command(found, words[0])
        assert command is not None, f"there is no command {words[0]!r} in {found.command_path}"
        found, words = click.Context(command, info_name=words[0], parent=found), words[1:]
    known = {option for param in found.command.get_params(found) for option in (*param.opts, *param.secondary_opts)}
    assert {word for word in words if word.startswith("-")} <= known
