"""The real terminal UI over plain ssh: it lists sessions, connects to them, comes back, and ends when it has to."""

from __future__ import annotations

import asyncio
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from netvps.gateway.tui.refusal import REFUSED
from tests.e2e.system import System
from tests.gateway.tui.viewer import Viewer
from tests.support.patience import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.docker]


@pytest.fixture(scope="module")
def system(ui_system: System) -> System:
    """With session dev1 and a registered key. The last test here ends it, so this module is the last that has it."""
    return ui_system


def _ssh(system: System, login: str = "some-account", *more: str) -> list[str]:
    values = {
        "IdentityFile": system.home / "ui-key",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "BatchMode": "yes",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "LogLevel": "ERROR",
    }
    options = [part for name, value in values.items() for part in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "none", *options, "-p", str(system.ports["ssh"]), f"{login}@127.0.0.1", *more]


async def test_it_lists_sessions_connects_and_comes_back(system: System) -> None:
    async with Viewer(_ssh(system)) as person:
        await person.until(b"dev1")
        person.press(b"s")
        await person.until(b"connecting to dev1.")
        person.press(b"echo $((6*7)) $TERM\r")
        await person.until(b"42 xterm-256color")
        person.press(b"exit\r")
        await person.until(b"dev1")
        person.press(b"q")
        assert await person.end() == 0


async def test_it_sends_nothing_while_nothing_changes(system: System) -> None:
    async with Viewer(_ssh(system)) as person:
        await person.until(b"dev1")
        quiet = 0
        async with asyncio.timeout(PATIENCE):
            while quiet < 20:  # two seconds
                person.seen.clear()
                await asyncio.sleep(0.1)
                quiet = 0 if person.seen else quiet + 1


async def test_many_viewers_of_one_user_are_refused_in_words(system: System) -> None:
    async with AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(Viewer(_ssh(system))) for _ in range(9)]
        ended = [asyncio.create_task(each.end(30)) for each in viewers]
        done, pending = await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
        assert [task.result() for task in done] == [REFUSED]
        (refused,) = [viewer for viewer, task in zip(viewers, ended, strict=True) if task in done]
        assert b"you have 8 terminal UIs open already" in refused.seen
        for task in pending:
            task.cancel()


@pytest.mark.parametrize(
    ("term", "columns", "words"), [("dumb", 20, b"TERM"), ("no-such-terminal", 40, b"dev1"), ("xterm", 20, b"20 x 24")]
)
async def test_terminals_of_other_kinds(system: System, term: str, columns: int, words: bytes) -> None:
    async with Viewer(_ssh(system), term=term, columns=columns, rows=24) as person:
        await person.until(words)


async def test_a_removed_key_and_the_end_of_the_server_end_it(system: System) -> None:
    system.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", system.home / "other-key")
    system.netvps("key", "add", system.home / "other-key.pub")
    other = [word.replace("/ui-key", "/other-key") for word in _ssh(system)]
    fingerprint = subprocess.check_output(["ssh-keygen", "-lf", system.home / "other-key.pub"], text=True).split()[1]  # noqa: ASYNC221
    async with Viewer(_ssh(system)) as person, Viewer(other) as leaving:
        await person.until(b"dev1")
        await leaving.until(b"dev1")
        await asyncio.to_thread(system.netvps, "key", "rm", fingerprint)
        await leaving.until(b"your access to this session ended")
        assert await leaving.end() == 255
        assert person.process.returncode is None
        down = asyncio.create_task(asyncio.to_thread(system.netvps, "down"))
        await person.until(b"the gateway is restarting", 60)
        assert await person.end() == 255
        await down
    left = [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"terminal_ui" in _content(path)]
    assert [path for path in left if str(system.home).encode() in _content(path.with_name("environ"))] == []


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it ended meanwhile
        return b""
