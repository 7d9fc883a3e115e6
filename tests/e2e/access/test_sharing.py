"""Two people in one session, with stock OpenSSH: shares and their ends, terminals that are kept, and who watches."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netvps.process.account import user_name
from tests.e2e.documents.printed import run_printed, words_of
from tests.e2e.system import Answer, System
from tests.e2e.window import Window
from tests.project.doc_pages import run_lines

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

_SOON = 1.0
"""Seconds from the end of a command that takes a share back to the end of what it permitted."""
_TOO_LONG = 30.0


@pytest.fixture(scope="module")
def system(ui_system: System) -> System:
    """With a user bob and his key."""
    ui_system.netvps("user", "add", "bob")
    ui_system.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", ui_system.home / "bob-key")
    ui_system.netvps("key", "add", ui_system.home / "bob-key.pub", "--user", "bob")
    return ui_system


def _dev1() -> str:
    return f"dev1.{user_name()}"


def _bob(system: System, login: str = "", *command: str) -> Answer:
    return system.ssh(login or _dev1(), *command, check=False, key=system.home / "bob-key", stdin=subprocess.DEVNULL)


def _gateway(system: System) -> int:
    """The pid of its gateway."""
    lines = {int(folder.name): _command_line(folder) for folder in Path("/proc").glob("[0-9]*")}
    (pid,) = [
        pid
        for pid, line in lines.items()
        if "netvps.programs.gateway " in line and f"--control {system.runtime}/" in line
    ]
    return pid


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def _jumping(system: System, folder: Path) -> list[str]:
    """Words by which Bob jumps to the session."""
    config = folder / "config"
    options = "\n".join(
        (
            f"  IdentityFile {system.home}/bob-key",
            "  IdentitiesOnly yes",
            "  BatchMode yes",
            "  StrictHostKeyChecking no",
            "  UserKnownHostsFile /dev/null",
            "  LogLevel ERROR",
        )
    )
    config.write_text(
        f"Host gw\n  HostName 127.0.0.1\n  Port {system.ports['ssh']}\n  User nobody\nHost *\n{options}\n"
    )
    return ["ssh", "-F", str(config), "-J", "gw", f"root@{_dev1()}.nv.internal"]


@contextmanager
def _held(way: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A connection that would go on."""
    argv = [*way, "echo in; sleep 100"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as ssh:
        try:
            assert ssh.stdout is not None
            assert ssh.stderr is not None
            assert ssh.stdout.readline() == b"in\n", ssh.stderr.read()
            yield ssh
        finally:
            ssh.kill()


@pytest.fixture
def shared(system: System) -> Iterator[System]:
    yield system
    system.netvps("unshare", "dev1", "bob", check=False)


def test_a_share_opens_the_session_and_its_end_closes_every_connection(shared: System, tmp_path: Path) -> None:
    jump = _jumping(shared, tmp_path)
    plain = ["ssh", *shared.ssh_options(_dev1(), shared.home / "bob-key"), "127.0.0.1"]
    asked = _bob(shared, "", "true")
    assert asked.returncode == 255
    assert b"is not open to key" in asked.stderr
    shared.netvps("share", "dev1", "bob")
    assert _bob(shared, "", "true").returncode == 255
    for ending in (("unshare", "dev1", "bob"), ("share", "dev1", "bob", "--role", "view")):
        shared.netvps("share", "dev1", "bob", "--role", "use")
        assert _bob(shared, "", "echo in").stdout == b"in\n"
        with _held(plain) as one, _held(jump) as other:
            shared.netvps(*ending)
            ended = time.monotonic()
            assert [one.wait(_TOO_LONG), other.wait(_TOO_LONG)] == [255, 255]
            assert time.monotonic() - ended < _SOON
        assert _bob(shared, "", "true").returncode == 255


def test_a_share_ends_at_its_time(shared: System) -> None:
    shared.netvps("share", "dev1", "bob", "--role", "use", "--until", "4s")
    end = time.monotonic() + 4.0
    assert _bob(shared, "", "sleep 60").returncode == 255
    assert time.monotonic() - end < _SOON
    assert _bob(shared, "", "true").returncode == 255


def test_the_page(shared: System, busybox: str) -> None:
    for line in run_lines("docs/sharing.md"):
        run_printed(shared, words_of(line, shared, busybox))


def test_a_kept_terminal_outlives_link_and_gateway_and_is_watched(shared: System) -> None:
    keep = [
        "-o",
        "SetEnv=NETVPS_TERMINAL=work",
        "-tt",
        *shared.ssh_options("dev1", shared.home / "ui-key"),
        "127.0.0.1",
    ]
    shared.netvps("share", "dev1", "bob")
    first = Window(shared, *keep)
    first.type("there=still; echo one$((1+1))")
    first.shows("one2")
    first.cut()
    again = Window(shared, *keep)
    again.shows("one2")
    watching = shared.ssh_options(f"watch+{_dev1()}", shared.home / "bob-key")
    watcher = Window(shared, "-tt", *watching, "127.0.0.1", "work")
    watcher.shows("one2")
    again.shows("bob watches this terminal")
    watcher.type("touch /tmp/typed-by-bob")
    again.type("echo two$((1+1))")
    watcher.shows("two2")
    shared.netvps("unshare", "dev1", "bob")
    assert watcher.ssh.wait(_TOO_LONG) == 255
    watcher.close()
    os.kill(_gateway(shared), signal.SIGKILL)
    assert again.ssh.wait(_TOO_LONG) == 255
    again.close()
    end = time.monotonic() + _TOO_LONG
    while shared.ssh("dev1", "true", check=False, key=shared.home / "ui-key").returncode != 0:
        assert time.monotonic() < end
        time.sleep(0.2)
    last = Window(shared, *keep)
    last.shows("two2")
    last.type("echo $there; ls /tmp/typed-by-bob; exit 3")
    last.shows("still")
    last.shows("No such file")
    assert last.ssh.wait(_TOO_LONG) == 3
    last.close()
