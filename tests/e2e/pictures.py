"""Pictures and a recording of the terminal UI on a real lab of three hosts, for the documentation (needs root).

python -m tests.e2e.pictures FOLDER
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps_tui.app import NetvpsApp
from netvps_tui.connect import HandOverTerminal, Place

from netvps.client import Endpoint, Network, SessionSpec, SessionState
from tests.e2e.overlay.overlay_lab import IMAGE, Lab, wait
from tests.e2e.system import NETVPS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from netvps.client import Client

_SESSIONS: Final = (
    ("api", "lab/api:2.1", 0.5, 256),
    ("api-staging", "lab/api:2.2", 0.25, 128),
    ("ci-1", "lab/build:7", 1.0, 512),
    ("ci-2", "lab/build:7", 1.0, 512),
    ("db", "lab/db:17", 1.0, 512),
    ("docs", "lab/web:3", 0.0, 0),
    ("mail", "lab/mail:1", 0.25, 64),
    ("notebook", "lab/python:3.13", 0.5, 256),
    ("web", "lab/web:3", 0.5, 128),
)
_COLUMNS, _ROWS = 110, 26
_KEYS: Final[Sequence[tuple[float, str]]] = (
    (2.0, "j"),
    (0.5, "j"),
    (0.8, "\r"),
    (6.0, "q"),
    (1.0, "3"),
    (4.0, "1"),
    (1.0, "/"),
    *((0.15, letter) for letter in "image:web"),
    (1.2, "\r"),
    (0.8, "s"),
    (2.5, ""),
    *((0.08, letter) for letter in "hostname; ping -c 2 db\r"),
    (3.0, "exit\r"),
    (1.5, "\x1b"),
    (1.0, "q"),
)
"""Seconds to wait, and what is typed then."""


def main(folder: Path) -> None:
    """Makes the lab, the pictures and the recording."""
    with Lab(3) as lab:
        for host in lab.hosts:
            for image in {image for _, image, _, _ in _SESSIONS}:
                host.docker("tag", IMAGE, image)
            host.start_runner()
        wait(lambda: lab.online() == lab.count, "all runners are there")
        lab.settle()
        with lab.client() as client:
            _furnish(client)
        key = lab.folder / ".ssh/id_ed25519"
        key.parent.mkdir(mode=0o700)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=20)
        lab.netvps("key", "add", f"{key}.pub")
        (folder / "tui.cast").write_text(_record(lab), encoding="utf-8")
        asyncio.run(_draw(Endpoint(f"unix:{lab.folder}/server/r/api.sock"), folder))


def _furnish(client: Client) -> None:
    """Sessions in several states, one of which has an image that no registry has."""
    for name, image, cpus, memory in _SESSIONS:
        client.create_session(
            name, SessionSpec(image=image, cpus=cpus, memory_bytes=memory << 20, network=Network.OVERLAY)
        )
    for name, *_ in _SESSIONS:
        wait(lambda: client.get_session(name).state is SessionState.RUNNING, f"{name} runs")  # noqa: B023
    client.stop_session("ci-2")
    client.pause_session("docs")
    client.create_session("scratch", SessionSpec(image="lab/missing:1"))
    wait(lambda: client.get_session("ci-2").state is SessionState.STOPPED, "ci-2 is stopped")
    wait(lambda: client.get_session("docs").state is SessionState.PAUSED, "docs is paused")
    wait(lambda: client.get_session("scratch").state is SessionState.FAILED, "scratch has failed")


def _record(lab: Lab) -> str:
    """The program in a terminal, as asciicast version 2."""
    own, other = pty.openpty()
    fcntl.ioctl(own, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    environment = lab.environment(lab.folder / "server") | {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environment |= {"PATH": f"{Path(NETVPS[0]).parent}:{environment['PATH']}", "LANG": "C.UTF-8"}
    del environment["NO_COLOR"]
    began, lines = time.monotonic(), [json.dumps({"version": 2, "width": _COLUMNS, "height": _ROWS})]

    def take(seconds: float) -> bool:
        """Records for a time; whether the program still runs."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            if select.select([own], [], [], left)[0]:
                try:
                    data = os.read(own, 65536)
                except OSError:
                    return False
                now = round(time.monotonic() - began, 3)
                lines.append(json.dumps([now, "o", data.decode(errors="replace")], ensure_ascii=False))
        return True

    with subprocess.Popen(
        [*lab.hosts[0].inside, *NETVPS, "tui"],
        stdin=other, stdout=other, stderr=other, env=environment, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(other)
        take(4.0)
        for seconds, keys in _KEYS:
            take(seconds)
            os.write(own, keys.encode())
        take(3.0)
        process.kill()
    os.close(own)
    return "\n".join(lines) + "\n"


async def _draw(endpoint: Endpoint, folder: Path) -> None:
    """The list, one session with a minute of use, and the network."""
    app = NetvpsApp(endpoint, HandOverTerminal(), read_only=False, title="lab", place=Place())
    async with app.run_test(size=(_COLUMNS, _ROWS)) as pilot:

        async def draw(name: str, seconds: float, *keys: str) -> None:
            await pilot.press(*keys)
            await asyncio.sleep(seconds)
            await pilot.pause()
            drawn = app.export_screenshot(title="netvps tui")
            await asyncio.to_thread((folder / name).write_text, drawn, encoding="utf-8")

        await draw("tui.svg", 3)
        await draw("tui-session.svg", 45, "enter")
        await draw("tui-network.svg", 8, "3")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
