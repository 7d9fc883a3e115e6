"""The terminal UI through stock clients, with an app that obeys keys, and OpenSSH's sshd as the session.

So it is the test of netvps.gateway.tui.apps, netvps.gateway.tui.refusal, netvps.gateway.tui.relay,
netvps.gateway.tui.terminal and netvps.gateway.tui.terminal_ui, too.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
import pytest

from netvps.domain.session.session import SessionState
from netvps.gateway.tui import refusal, session, terminal_ui
from netvps.gateway.tui.apps import TerminalApps
from tests.gateway.conftest import Sshd, World, a_world, run
from tests.gateway.tui.viewer import Viewer
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from netvps.gateway.ssh.connection import SshConnection

FAKE = (sys.executable, str(Path(__file__).with_name("fake_ui.py")))


@pytest.fixture
async def world(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr("netvps.gateway.ssh.connection.REVIEW_SECONDS", 0.05)
    async with TerminalApps("unix:/none/api.sock", FAKE) as apps, a_world(sshd, tmp_path, ui_apps=apps) as made:
        yield made


def viewer(world: World, *, login: str = "tui", term: str = "xterm-256color") -> Viewer:
    return Viewer(world.ssh(login=login), term=term)


async def test_the_ui_has_a_terminal_a_token_and_a_clean_environment(world: World) -> None:
    async with viewer(world, login="ann") as ann:
        await ann.until(b"UI term=xterm-256color page= row= token=token-of-alice-0 api=unix:/none/api.sock")
        ann.press(b"z")
        await ann.until(b"size=100x30")
        ann.resize(120, 40)
        await ann.press_until(b"z", b"size=120x40")
        ann.press(b"e")
        await ann.until(b"environ=['HOME', 'LANG', 'TERM']")
        ann.press(b"i")
        await ann.until(b"leader=True")
        assert world.authorizer.tokens
        ann.press(b"q")
        assert await ann.end() == 0
    assert not world.authorizer.tokens
    assert world.gateway.connections == 0


async def test_connecting_gives_the_channel_to_the_session_and_comes_back_to_the_row(world: World) -> None:
    async with viewer(world) as ann:
        await ann.until(b"UI term=")
        ann.press(b"s")
        await ann.until(b"connecting to dev1.alice")
        ann.press(b"stty size; echo $((6*7)) $TERM\r")
        await ann.until(b"42 xterm-256color")
        ann.resize(90, 25)
        await ann.press_until(b"stty size\r", b"25 90")
        ann.press(b"exit 3\r")
        await ann.until(b"UI term=xterm-256color page=sessions row=row7 token=token-of-alice-0")
        ann.press(b"z")
        await ann.until(b"size=90x25")
        ann.press(b"q")
        assert await ann.end() == 0


async def test_a_session_that_cannot_be_entered_says_why_and_the_ui_comes_back(world: World) -> None:
    async with viewer(world) as ann:
        await ann.until(b"UI term=")
        world.set_state(SessionState.STOPPED)
        ann.press(b"s")
        await ann.until(b"session dev1 is STOPPED: start it with: netvps start dev1")
        await ann.until(b"any key leads back")
        ann.press(b" ")
        await ann.until(b"page=sessions row=row7")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("uname",), b"you have no session dev9, so this is the terminal UI, which runs no commands"),
        ((), b"netvps: the terminal UI needs a terminal: ssh -t, or use `netvps ls`"),
    ],
)
async def test_without_a_terminal_or_with_a_command_it_says_what_it_is(
    world: World, command: tuple[str, ...], words: bytes
) -> None:
    ran = await run(world.ssh(*command, login="dev9"))
    assert (ran.code, ran.out, words in ran.err) == (refusal.REFUSED, b"", True)


async def test_files_are_not_copied(world: World) -> None:
    options = [*world.ssh_options(), "-P", str(world.gateway.port)]
    ran = await run(["sftp", *options, "tui@127.0.0.1"])
    assert ran.code != 0
    assert b"copies no files" in ran.err


async def test_forwards_are_refused(world: World) -> None:
    ran = await run(world.ssh(login="tui", options=("-W", "127.0.0.1:22")))
    assert (ran.code, b"administratively prohibited" in ran.err or b"open failed" in ran.err) == (255, True)


async def test_a_key_that_is_removed_ends_the_ui(world: World) -> None:
    async with viewer(world) as ann:
        await ann.until(b"UI term=")
        world.authorizer.keys.clear()
        await ann.until(b"your access to this session ended")
        assert await ann.end() == 255
    assert not world.authorizer.tokens


async def test_viewers_are_limited(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(terminal_ui, "VIEWERS_PER_USER", 1)
    async with viewer(world) as first:
        await first.until(b"UI term=")
        async with viewer(world) as second:
            await second.until(b"you have 1 terminal UIs open already: close some")
            assert await second.end() == refusal.REFUSED
        first.press(b"q")
        assert await first.end() == 0
    async with viewer(world) as third:
        await third.until(b"UI term=")


async def test_a_viewer_that_does_not_read_stops_the_app_and_memory_does_not_grow(world: World) -> None:
    async with viewer(world) as ann:
        await ann.until(b"UI term=")
        (connection,) = connections(world)
        transport = connection.downstream._transport
        ann.stop_reading()
        ann.press(b"f")
        async with asyncio.timeout(PATIENCE):
            while not (connection._ui_sessions[0]._held or connection._ui_sessions[0]._channel._send_buf_len):
                await asyncio.sleep(0.01)
        channel = connection._ui_sessions[0]._channel
        assert transport is not None
        assert transport.get_write_buffer_size() + channel._send_buf_len < 4 << 20
        pid = await pid_of(world)
    assert not await asyncio.to_thread(lives, pid)


async def test_a_bug_of_the_app_ends_in_words_and_the_next_viewer_is_served(world: World) -> None:
    async with viewer(world) as ann:
        await ann.until(b"UI term=")
        ann.press(b"b")
        await ann.until(b"netvps: the terminal UI failed; the server's log says why")
        assert await ann.end() == 0
    async with viewer(world) as ann:
        await ann.until(b"UI term=")


async def test_a_warm_process_that_was_killed_is_started_again(world: World) -> None:
    async with viewer(world) as ann:
        await ann.until(b"UI term=")
        apps = world.gateway._ui_apps
        assert apps is not None
        assert apps._process is not None
        apps._process.kill()
        assert await ann.end() == 0
    async with viewer(world) as ann:
        await ann.until(b"UI term=")


async def test_the_warm_process_comes_after_a_while_or_with_the_first_viewer(sshd: Sshd, tmp_path: Path) -> None:
    async with TerminalApps("unix:/none/api.sock", FAKE, warm_after=0.01) as apps, asyncio.timeout(PATIENCE):
        while apps._process is None:
            await asyncio.sleep(0.01)
    async with TerminalApps("unix:/none/api.sock", FAKE) as apps, a_world(sshd, tmp_path, ui_apps=apps) as world:
        assert apps._process is None
        async with viewer(world) as ann:
            await ann.until(b"UI term=")


async def test_an_idle_ui_ends_with_a_reason(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "IDLE_SECONDS", 0.5)
    async with viewer(world) as ann:
        await ann.until(b"there was no input for hours")
        await ann.end()


async def test_a_restart_of_the_gateway_says_so(world: World) -> None:
    async with viewer(world) as ann:
        await ann.until(b"UI term=")
        await world.gateway.stop(0)
        await ann.until(b"the gateway is restarting: connect again in a moment")
        assert await ann.end() == 255


@pytest.mark.parametrize("client", ["dbclient", "plink"])
async def test_other_clients(world: World, client: str, tmp_path: Path) -> None:
    port, home = str(world.gateway.port), tmp_path / "home"
    key = str(tmp_path / "other")
    if client == "dbclient":
        convert = ["dropbearconvert", "openssh", "dropbear", str(world.key), key]
        argv = ["env", f"HOME={home}", "dbclient", "-y", "-y", "-t", "-i", key, "-p", port, "tui@127.0.0.1"]
    else:
        convert = ["puttygen", str(world.key), "-o", key, "-O", "private"]
        host_key = asyncssh.import_public_key((tmp_path / "known_hosts").read_text().partition(" ")[2])
        known = ["-hostkey", host_key.get_fingerprint(), "-i", key]
        argv = ["env", f"HOME={home}", "plink", "-batch", "-t", "-ssh", *known, "-P", port, "tui@127.0.0.1"]
    home.mkdir()
    assert (await run(convert)).code == 0
    async with Viewer(argv) as ann:
        await ann.until(b"UI term=xterm")
        ann.press(b"s")
        await ann.until(b"connecting to dev1.alice")
        ann.press(b"echo $((6*7))\r")
        await ann.until(b"42")
        ann.press(b"exit\r")
        await ann.until(b"row=row7")
        ann.press(b"q")
        assert await ann.end() == 0


def connections(world: World) -> list[SshConnection]:
    return [*world.gateway._connections]


async def pid_of(world: World) -> int:
    apps = world.gateway._ui_apps
    assert apps is not None
    assert apps._process is not None
    ran = await run(["pgrep", "-P", str(apps._process.pid)])
    return int(ran.out)


def lives(pid: int) -> bool:
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists():
            return False
        subprocess.run(["sleep", "0.05"], check=True)
    return True
