"""One page that shows the terminal UI, and gives its terminal to a session whenever the person connects.

app on a PTY    ◄──► WebSocket     until the app hands the terminal over
exec of a shell ◄──► WebSocket     until the shell ends; then the app again, on the same row

Binary messages are input and output. Text messages are JSON: {"columns": N, "rows": N} is first, and comes with each
change of size; {"ack": N} says that the page has drawn N more bytes. Whatever else a page sends ends it. To the page,
{"taken": N} says that N bytes of input have left: a page has at most session_input.CREDIT bytes under way, so that its
acknowledgements never wait behind input that a session does not read.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from netvps.display.text import clean
from netvps.domain.session.exec import ExecStart, Exit, Stderr, Stdout, TerminalSize
from netvps.errors import NetvpsError
from netvps.gateway.tui.apps import Outcome, Viewer
from netvps.gateway.tui.early_input import RESET, EarlyInput
from netvps.gateway.tui.terminal import MAX_SIZE, Terminal
from netvps.gateway.web.logins import IDLE_SECONDS
from netvps.gateway.web.session_input import SessionInput
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from netvps.gateway.tui.apps import TerminalApps
    from netvps.gateway.web.logins import Login

log = structlog.get_logger()

LEFT, IDLE, NOT_ADMITTED, MISUSED, FAILED = 4000, 4003, 4004, 4005, 4006
"""Close codes, beside logins.LOGIN_ENDED: the person quit; no input for hours; too many; not our page; an error."""
MESSAGE_LIMIT: Final = 64 * 1024
"""Maximum size of a message from a page."""
HIGH: Final = 512 * 1024
"""Bytes that a page has not drawn yet, beyond which the app or the session waits."""
_LOW: Final = 128 * 1024
_PIECE: Final = 32 * 1024
_FIRST_SECONDS: Final = 10.0
_SEND_SECONDS: Final = 60.0
"""A page that takes nothing for this long is gone."""
_BUG: Final = "a bug of netvps ended this page; the log of `netvps web` says more"
_REASON_BYTES: Final = 120
_TERM: Final = "xterm-256color"
_SHELL: Final = ("/bin/sh", "-c", 'exec "${SHELL:-/bin/sh}" -l')
"""The login shell of the account, as an SSH server starts it."""


class Page(Protocol):
    """The WebSocket."""

    async def receive(self) -> str | bytes | None:
        """The next message; None when it is closed or broken."""

    async def send(self, message: str | bytes) -> None:
        """Sends a message, and waits while the page takes none. Raises OSError."""

    async def close(self, code: int, reason: str) -> None:
        """Closes it; the reason is for a person."""


class WebViewer:
    """Shows the app on one page, until either ends."""

    def __init__(self, page: Page, login: Login, apps: TerminalApps) -> None:
        self._page, self._login, self._apps = page, login, apps
        self._size = TerminalSize(80, 24)
        self._terminal: Terminal | None = None
        self._session: SessionInput | None = None
        """Of the session that has the terminal."""
        self._taken = 0
        """Bytes of input that the page has not been notified of yet."""
        self._early = EarlyInput()
        self._active = 0.0
        self._output = bytearray()
        self._unseen = 0
        """Bytes sent that the page has not drawn."""
        self._changed = asyncio.Event()
        """There is output, or less of it is unseen."""
        self._room = asyncio.Event()
        self._room.set()
        self._ending: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()

    def end(self, code: int, reason: str) -> None:
        """Ends it from outside. Idempotent."""
        if not self._ending.done():
            self._ending.set_result((code, reason))

    async def run(self) -> None:
        """Serves the page to its end."""
        self._touch()
        async with Tasks() as tasks:
            reading = tasks.start(self._read(), name="page of the terminal UI: input")
            reading.add_done_callback(lambda _: self.end(FAILED, _BUG))
            code, reason = await self._ending
        # What was written last is worth a moment: it may say why.
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(1):
                while self._output:
                    await self._send_piece()
        await self._page.close(code, _shortened(reason))

    # From the page

    async def _read(self) -> None:
        """Reads the page's messages; starts the app at the first."""
        try:
            async with asyncio.timeout(_FIRST_SECONDS):
                first = await self._page.receive()
        except TimeoutError:
            return self.end(MISUSED, "the page did not say its size")
        if not isinstance(first, str) or not self._control(first):
            return self.end(MISUSED, "the first message is the size of the terminal")
        async with Tasks() as tasks:
            tasks.start(self._write_out(), name="page of the terminal UI: output")
            tasks.start(self._end_idle(), name="page of the terminal UI: idle time")
            tasks.start(self._serve(), name="page of the terminal UI")
            while (message := await self._page.receive()) is not None:
                if isinstance(message, bytes):
                    self._touch()
                    if not self._input(message):
                        return self.end(MISUSED, "the page sent more input than it may")
                elif not self._control(message):
                    return self.end(MISUSED, "the page sent a message that is not of the protocol")
            self.end(LEFT, "the page was closed")
        return None

    def _control(self, text: str) -> bool:
        """Takes a size or an acknowledgement; whether it was one."""
        try:
            match json.loads(text):
                case {"columns": int(columns), "rows": int(rows), **rest} if not rest:
                    self._resize(min(max(columns, 1), MAX_SIZE), min(max(rows, 1), MAX_SIZE))
                case {"ack": int(count), **rest} if not rest and 0 < count <= self._unseen:
                    self._unseen -= count
                    self._changed.set()
                    if self._unseen + len(self._output) <= _LOW:
                        self._release()
                case _:
                    return False
        except (ValueError, RecursionError):
            return False
        return True

    def _input(self, data: bytes) -> bool:
        """Passes input on; whether the page may have sent it."""
        if self._session is not None:
            return self._session.feed(data)
        if self._terminal:
            self._terminal.feed(data)
        else:
            self._early.feed(data)
        self._note_taken(len(data))
        return True

    def _note_taken(self, count: int) -> None:
        self._taken += count
        self._changed.set()

    def _resize(self, columns: int, rows: int) -> None:
        self._size = TerminalSize(columns, rows)
        if self._terminal:
            self._terminal.resize(columns, rows)
        if self._session is not None:
            self._session.resize(self._size)

    def _touch(self) -> None:
        self._active = self._login.touch()

    # To the page

    def _write(self, data: bytes) -> None:
        self._output += data
        self._changed.set()
        if self._unseen + len(self._output) >= HIGH:
            self._room.clear()
            if self._terminal:
                self._terminal.pause()

    def _release(self) -> None:
        self._room.set()
        if self._terminal:
            self._terminal.resume()

    async def _write_out(self) -> None:
        try:
            while True:
                await self._changed.wait()
                self._changed.clear()
                async with asyncio.timeout(_SEND_SECONDS):
                    if taken := self._taken:
                        self._taken = 0
                        await self._page.send(json.dumps({"taken": taken}))
                    if self._output and self._unseen < HIGH:
                        await self._send_piece()
                        self._changed.set()
        except (OSError, TimeoutError):
            self.end(FAILED, "the page takes nothing")

    async def _send_piece(self) -> None:
        piece = bytes(self._output[:_PIECE])
        del self._output[:_PIECE]
        self._unseen += len(piece)
        await self._page.send(piece)

    # The life of the UI

    async def _serve(self) -> None:
        try:
            outcome = await self._show(Outcome())
            while outcome.session:
                await self._enter(outcome.session)
                outcome = await self._show(outcome)
            self.end(LEFT, "you left the terminal UI")
        except NetvpsError as error:
            self.end(FAILED, error.message)
        except Exception:
            self.end(FAILED, _BUG)
            raise

    async def _show(self, place: Outcome) -> Outcome:
        """Runs the app until it ends."""
        terminal = self._terminal = Terminal(self._write)
        app = None
        try:
            terminal.resize(self._size.columns, self._size.rows)
            credential = self._login.account.credential
            viewer = Viewer(credential, _TERM, {"COLORTERM": "truecolor"}, place.page, place.uid)
            app = await self._apps.start(viewer, terminal.app_end)
            terminal.close_app_end()
            terminal.feed(self._early.take())
            if not self._room.is_set():
                terminal.pause()
            outcome = await app.outcome()
            terminal.drain()
            return outcome
        finally:
            if app:
                app.kill()
            self._terminal = None
            terminal.close()

    async def _enter(self, name: str) -> None:
        """Gives the page to a shell in a session until it ends."""
        self._say(f"connecting to {name} …")
        inputs = self._session = SessionInput(self._note_taken, self._early.take())
        user = self._login.account.user
        log.info("web terminal", session=name, user=user)
        try:
            start = ExecStart(name, _SHELL, terminal=self._size, term=_TERM)
            async with aclosing(self._login.account.exec(start, inputs.messages())) as output:
                async for message in output:
                    match message:
                        case Stdout(data) | Stderr(data):
                            await self._room.wait()
                            self._write(data)
                        case Exit():
                            break
        except NetvpsError as error:
            self._session = None
            self._write(RESET)
            await self._early.explain(self._say, f"session {name}: {clean(error.message)}")
        finally:
            self._session = None
            inputs.drop()
            self._write(RESET)
            log.info("web terminal end", session=name, user=user)

    async def _end_idle(self) -> None:
        while True:
            left = self._active + IDLE_SECONDS - self._login.clock()
            if left <= 0:
                break
            await asyncio.sleep(min(left, IDLE_SECONDS / 60))
        self.end(IDLE, "there was no input for hours")

    def _say(self, line: str) -> None:
        self._write(f"\r\nnetvps: {line}\r\n".encode())


def _shortened(reason: str) -> str:
    """A reason that fits into a closing frame."""
    data = reason.encode()
    return reason if len(data) <= _REASON_BYTES else data[: _REASON_BYTES - 3].decode(errors="ignore") + "…"
