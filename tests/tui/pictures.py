"""Screens of the app with believable sessions: as text for tests, as SVG for the documentation.

python -m tests.tui.pictures FOLDER
"""

from __future__ import annotations

import asyncio
import os
import re
import string
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from netvps_tui.pages.session import SessionPage
from rich.cells import cell_len

from netvps.domain.image.image import ImageView
from netvps.domain.metrics import Measurement
from netvps.domain.overlay.path import Path as Link
from netvps.domain.overlay.path import PathState
from netvps.domain.runner.runner import SNAPSHOTS, Underlay
from netvps.domain.session.session import SessionReport, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.services.images.images import ImagePage
from tests.rpc.site import ROOT, hello, open_site
from tests.tui.conftest import started

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.rpc.site import Site
    from tests.tui.conftest import Running

_SESSIONS: Final = (
    ("api-prod", SessionState.RUNNING, "netvps/debian:latest", 2, 4, ""),
    ("api-staging", SessionState.RUNNING, "netvps/debian:latest", 1, 2, ""),
    ("build-arm", SessionState.STOPPED, "debian:12", 4, 8, ""),
    ("ci-1", SessionState.RUNNING, "ubuntu:24.04", 2, 2, ""),
    ("ci-2", SessionState.PREPARING, "ubuntu:24.04", 2, 2, "pulling ubuntu:24.04: 34 MB of 120 MB"),
    ("db", SessionState.RUNNING, "postgres:17", 4, 4, ""),
    ("docs", SessionState.PAUSED, "netvps/debian:latest", 0, 0, ""),
    ("mail", SessionState.RUNNING, "debian:12", 0.5, 1, ""),
    ("metrics", SessionState.FAILED, "prom/prometheus:v3", 1, 2, "no space left on device: free some, then start it"),
    ("notebook", SessionState.RUNNING, "python:3.13", 8, 8, ""),
    ("queue", SessionState.STOPPING, "debian:12", 1, 1, ""),
    ("web", SessionState.RUNNING, "netvps/debian:latest", 2, 2, ""),
)
_IMAGES: Final = (
    ("netvps/debian:latest", "box1", 84, 3, True),
    ("netvps/debian:latest", "lab-3", 84, 2, True),
    ("postgres:17", "box2", 158, 1, False),
    ("ubuntu:24.04", "box2", 29, 2, False),
)
"""Reference, runner, size in MB, sessions, whether it is the default."""
_LINKS: Final = ((0, 1, 0.00042), (1, 0, 0.00044), (0, 2, 0.0121), (2, 0, 0.0118), (1, 2, 0.0113))
SCREENS: Final[dict[str, Sequence[str]]] = {
    "sessions": (),
    "new": ("n",),
    "session": ("escape", "enter"),
    "runners": ("escape", "2"),
    "network": ("3",),
    "events": ("4",),
    "people": ("5",),
    "images": ("6",),
    "help": ("1", "question_mark"),
    "palette": ("escape", "colon"),
    "delete": ("escape", "d"),
    "snapshots": ("escape", "p"),
    "logs": ("q", "l"),
}
"""Screens, and the keys that lead to each from the one before."""
_LETTERS: Final = string.ascii_lowercase + string.ascii_uppercase + string.digits + "+-*/=<>!?%&$#@^~|"
_VARYING: Final = (
    (r"\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d\+\d\d:\d\d)?)?", lambda found: "2026-01-31 12:00:00+00:00"[: len(found[0])]),
    (r"\d\d-\d\d \d\d:\d\d:\d\d", lambda _: "01-31 12:00:00"),
    (r"\d\d:\d\d:\d\d\+", lambda _: "12:00:00+"),
    (r"(?<=uid {9})[a-z0-9]{13}", lambda found: "0" * len(found[0])),
    (r" +\d+s(?= |$)", lambda found: "3s".rjust(len(found[0]))),
)


async def furnish(site: Site) -> None:
    """Three runners with links between them, and a dozen sessions."""
    machines = []
    for number, name in enumerate(("box1", "box2", "lab-3"), 1):
        machine = await site.join(name)
        underlay = Underlay((f"192.0.2.{number}",), 1450)
        greeting = replace(hello(name), underlay=underlay, capabilities=(*hello().capabilities, SNAPSHOTS))
        await site.services.runners.online(machine.uid, greeting)
        machines.append((name, f"192.0.2.{number}"))
    for name, state, image, cpus, memory, message in _SESSIONS:
        spec = SessionSpec(image=image, cpus=cpus, memory_bytes=memory << 30)
        owner = "alice" if name.startswith("api") else ""
        session = await site.services.sessions.create(ROOT, session_id=name, owner=owner, spec=spec)
        reason = "disk" if state is SessionState.FAILED else ""
        said = SessionReport(session.uid, session.epoch, session.generation, state, reason, message)
        await site.services.runners.report(session.runner, said)

    async def links(*_: object) -> AsyncIterator[Link]:
        for start, end, rtt in _LINKS:
            (name, address), (other, there) = machines[start], machines[end]
            yield Link(name, other, PathState.UP, rtt, 1400, 1400, address, there)
        why = "large packets are lost: let UDP 14789 with 1450 bytes pass on the way"
        yield Link("lab-3", "box2", PathState.REDUCED, 0.0117, 1280, 1400, "192.0.2.3", "192.0.2.2", why)

    async def images(*_: object, **__: object) -> ImagePage:
        page = ImagePage()
        for reference, runner, size, sessions, default in _IMAGES:
            digest = "sha256:" + "0" * 64
            page.images.append(
                ImageView(runner, reference, digest, size << 20, "amd64", datetime.now(UTC), default, sessions)
            )
        return page

    listing: Any = site.services.images
    listing.list = images
    network: Any = site.services.network
    network.links = links  # no runner is connected that could measure


def use(page: SessionPage) -> None:
    """A minute of use, as a runner would report it."""
    for second in range(60):
        wave = abs(second % 20 - 10) / 10
        memory = int((1.2 + second / 90) * (1 << 30))
        page.show_measured([Measurement(0.2 + 1.2 * wave, memory, 40_000 * wave, 9_000 * (1 - wave))])


async def each_screen(tui: Running, number: int = len(SCREENS)) -> AsyncIterator[str]:
    """Goes through the first screens; yields the name of each once it is complete."""
    for name, keys in list(SCREENS.items())[:number]:
        await tui.press(*keys)
        await tui.settled()
        if isinstance(tui.app.screen, SessionPage):
            use(tui.app.screen)
            await tui.settled()
        yield name


def steady(text: str) -> str:
    """The text of a screen without what differs each time."""
    for pattern, same in _VARYING:
        text = re.sub(pattern, same, text, flags=re.MULTILINE)
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


class Styles:
    """How screens are drawn: a letter for each style, in the order of their first use."""

    def __init__(self) -> None:
        self._letters: dict[str, str] = {}

    def of(self, lines: list[list[tuple[str, str]]]) -> str:
        """A line of letters for each line of a screen; trailing ones that repeat are left out."""
        found = []
        for line in lines:
            letters = "".join(self._letter(style) * cell_len(text) for text, style in line)
            end = len(letters.rstrip(letters[-1:])) + 1
            found.append(letters[:end])
        return "\n".join(found) + "\n"

    def legend(self) -> str:
        """What the letters mean."""
        return "".join(f"{letter} = {style}\n" for style, letter in self._letters.items())

    def _letter(self, style: str) -> str:
        return self._letters.setdefault(style, _LETTERS[len(self._letters)])


async def draw(picture: Path) -> None:
    """Writes the list of sessions as SVG; beside it, every screen in three sizes if the name is that of a folder."""
    sizes = [(80, 24), (120, 40), (200, 60)] if picture.is_dir() else [(110, 24)]
    for size in sizes:
        async with open_site() as site:
            await furnish(site)
            async with started(site, size=size) as tui:
                async for name in each_screen(tui, len(SCREENS) if picture.is_dir() else 1):
                    drawn = tui.app.export_screenshot(title="netvps tui")
                    file = picture / f"{name}-{size[0]}x{size[1]}.svg" if picture.is_dir() else picture
                    await asyncio.to_thread(file.write_text, drawn)


if __name__ == "__main__":
    os.environ |= {"COLORTERM": "truecolor", "TERM": "xterm-256color"}
    asyncio.run(draw(Path(sys.argv[1])))
