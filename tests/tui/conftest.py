"""The app without a terminal, against a real control plane in this process."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest
from netvps_tui import commands
from netvps_tui.app import NetvpsApp
from netvps_tui.connect import Place
from netvps_tui.live import Status
from netvps_tui.pages.sessions import SessionsPage

from netvps.domain.runner.runner import SNAPSHOTS, Underlay
from netvps.domain.session.session import SessionReport, SessionState
from netvps.domain.session.spec import SessionSpec
from tests.rpc.site import ROOT, Site, hello, open_site, soon
from tests.support.command_lines import problem
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from rich.style import Style
    from textual.pilot import Pilot

    from netvps.domain.session.session import Session
    from netvps.rpc.client.channel import Endpoint

STATES = {
    "api": SessionState.RUNNING,
    "db": SessionState.STOPPED,
    "queue": SessionState.PREPARING,
    "web": SessionState.FAILED,
}


@dataclass
class Recorded:
    """A way into sessions that only remembers who wanted in."""

    asked: list[tuple[str, ...]] = field(default_factory=list)
    place: Place = field(default_factory=Place)

    def ssh(self, app: Any, name: str, place: Place) -> None:
        self.asked.append(("ssh", name))
        self.place = place

    def forward(self, app: Any, name: str, ports: Sequence[str]) -> None:
        self.asked.append(("forward", name, *ports))


@dataclass
class Running:
    """An app that runs, its server, and the keyboard."""

    app: NetvpsApp
    pilot: Pilot[Any]
    site: Site
    connect: Recorded

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        await self.pilot.press(*({" ": "space"}.get(letter, letter) for letter in text))

    async def until(self, condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
        """Returns once the condition holds on what the app shows."""
        await soon(condition, seconds)

    @property
    def text(self) -> str:
        """What is on the screen."""
        width, height = self.app.size
        lines = self.app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in line)[:width] for line in lines[:height])

    @property
    def styles(self) -> list[list[tuple[str, str]]]:
        """What is on the screen, line by line, as texts and how each is drawn."""
        width, height = self.app.size
        lines = self.app.screen._compositor.render_strips()
        return [[(one.text, drawn(one.style)) for one in line.crop(0, width)] for line in lines[:height]]

    async def shows(self, *words: str) -> None:
        """Waits until the screen has these words."""
        try:
            await self.until(lambda: all(word in self.text for word in words))
        except TimeoutError:
            raise AssertionError(f"{words} not on the screen:\n{self.text}") from None

    async def settled(self) -> None:
        """Waits until two looks in a row at the screen are the same, and nothing is being read."""
        last = ""
        while True:
            await self.pilot.pause(0.12)
            text = self.text
            loading = any(word in text for word in ("reading", "measuring", "connecting"))
            if text == last and "? help" in text and not loading:  # the line of keys comes last
                return
            last = text

    @property
    def ready(self) -> bool:
        """Whether everything is read, or nothing can be."""
        live = self.app.live
        return live.status is Status.ENDED or (live.complete and bool(self.app.me))

    @property
    def sessions(self) -> SessionsPage:
        page = next(screen for screen in self.app.screen_stack if isinstance(screen, SessionsPage))
        assert isinstance(page, SessionsPage)
        return page

    @property
    def current(self) -> str:
        session = self.sessions.target()
        return session.name if session else ""

    async def report(self, name: str, state: SessionState, message: str = "") -> None:
        """The session's runner says that it is in a state."""
        session = await self.site.services.sessions.get(ROOT, name)
        await report(self.site, session, state, message)


def drawn(style: Style | None) -> str:
    """Colours and attributes of a text, in words."""
    if style is None:
        return ""
    words = [name for name in ("bold", "dim", "italic", "underline", "reverse") if getattr(style, name)]
    colours = [colour.name if colour else "default" for colour in (style.color, style.bgcolor)]
    return f"{colours[0]} on {colours[1]} {' '.join(words)}".strip()


async def report(site: Site, session: Session, state: SessionState, message: str = "") -> None:
    said = SessionReport(session.uid, session.epoch, session.generation, state, message=message)
    await site.services.runners.report(session.runner, said)


async def fill(site: Site) -> None:
    """One runner with a session in each of four states."""
    machine = await site.join("box1")
    underlay = Underlay(("192.0.2.1",), 1450)
    await site.services.runners.online(
        machine.uid, replace(hello(), underlay=underlay, capabilities=(*hello().capabilities, SNAPSHOTS))
    )
    for name, state in STATES.items():
        session = await site.services.sessions.create(
            ROOT, session_id=name, owner="", spec=SessionSpec(image="debian:12")
        )
        why = "the image has no such tag" if state is SessionState.FAILED else ""
        await report(site, session, state, why)


@pytest.fixture(autouse=True)
def _known_to_the_cli(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command line that the app shows is one that the CLI takes."""

    def checked(*words: str) -> str:
        assert problem(list(words)) == "", words
        return commands.command_line(*words)

    for name, module in [*sys.modules.items()]:
        if name.startswith("netvps_tui.") and name != commands.__name__ and hasattr(module, "command_line"):
            monkeypatch.setattr(module, "command_line", checked)


@pytest.fixture(autouse=True)
def _any_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever the tests run."""
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")


@asynccontextmanager
async def started(
    site: Site,
    *,
    read_only: bool = False,
    size: tuple[int, int] = (130, 30),
    place: Place | None = None,
    wait: str = "root@lab",
    endpoint: Endpoint | None = None,
) -> AsyncIterator[Running]:
    connect = Recorded()
    app = NetvpsApp(endpoint or site.local, connect, read_only=read_only, title="lab", place=place or Place())
    async with app.run_test(size=size, notifications=True) as pilot:
        running = Running(app, pilot, site, connect)
        await running.until(lambda: running.ready and wait in running.text)
        yield running


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as opened:
        await fill(opened)
        yield opened


@pytest.fixture
async def tui(site: Site) -> AsyncIterator[Running]:
    async with started(site) as running:
        yield running
