"""A dialog: some fields, checked while one types, and the command line that does the same."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from textual.binding import Binding, BindingType
from textual.containers import Grid, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from netvps.display.text import clean
from netvps.errors import InvalidInput, NetvpsError, Unauthenticated
from netvps_tui.dialogs.present import require_present
from netvps_tui.work import restart

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from textual.app import ComposeResult

    from netvps.client import Session
    from netvps_tui.app import NetvpsApp

Values = dict[str, str]
_PAUSE = 0.15
"""Seconds without a key after which what was typed is checked."""


@dataclass(frozen=True, slots=True)
class Field:
    """A line to type in."""

    name: str
    label: str
    value: str = ""
    hint: str = ""
    """Shown in an empty field."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a dialog asks. `command` is the words of the command line; `check` says what will happen.

    `check` raises InvalidInput, whose violations are shown at the fields that they name, or another NetvpsError, which
    is shown below. `send` does it; the dialog stays open with the error if it raises one.
    """

    title: str
    text: str
    fields: Sequence[Field]
    verb: str
    """What Enter does: "create"."""
    command: Callable[[Mapping[str, str]], str]
    check: Callable[[Mapping[str, str]], Awaitable[str]]
    send: Callable[[Mapping[str, str]], Awaitable[None]]
    sessions: Sequence[Session] = ()
    """What it is about; the dialog says so if one is removed while it is open."""
    danger: bool = False


class FormDialog(ModalScreen[bool]):
    """Shows a form; True if it was sent."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "cancel", "cancel"),
        Binding("enter", "send", "send", show=False),
        Binding("down", "app.focus_next", "next field", show=False),
        Binding("up", "app.focus_previous", "previous field", show=False),
        Binding("ctrl+y", "copy", "copy the command line", show=False),
    ]

    def __init__(self, form: Form) -> None:
        super().__init__()
        self._form = form
        self._line = ""
        self._sending = False

    def compose(self) -> ComposeResult:
        """The form in a box."""
        form = self._form
        with Vertical(id="dialog", classes="danger" if form.danger else ""):
            yield Label(Content(form.title), id="dialog-title")
            if form.text:
                yield Static(Content(form.text), id="dialog-text")
            with Grid(id="fields"):
                for field in form.fields:
                    yield Label(Content(field.label), classes="field-label")
                    yield Input(
                        field.value,
                        placeholder=field.hint,
                        id=f"field-{field.name}",
                        compact=True,
                        select_on_focus=False,
                    )
                    yield Static("", id=f"error-{field.name}", classes="field-error hidden")
            yield Static("", id="outcome")
            yield Static("", id="dialog-command")
            yield Static(id="dialog-keys")

    def on_mount(self) -> None:
        """The first field has the focus, and what stands there is checked."""
        keys = [
            ("enter ", "$accent"),
            (f"{self._form.verb}   ", "$muted"),
            ("esc ", "$accent"),
            ("cancel   ", "$muted"),
        ]
        keys += [("ctrl+y ", "$accent"), ("copy the command", "$muted")]
        self.query_one("#dialog-keys", Static).update(Content.assemble(*keys))
        self._tui.news.subscribe(self, self._news)
        self._check()

    @property
    def _tui(self) -> NetvpsApp:
        return cast("NetvpsApp", self.app)

    def _news(self, uids: set[str]) -> None:
        gone = [one for one in self._form.sessions if one.uid in uids and one.uid not in self._tui.live.sessions]
        if gone and not self._sending:
            self._check()

    @property
    def values(self) -> Values:
        """What stands in the fields."""
        return {field.name: self.query_one(f"#field-{field.name}", Input).value.strip() for field in self._form.fields}

    def on_input_changed(self) -> None:
        """Checks once no key comes for a moment."""
        self._show_command()
        restart(self, self._checked_later, "check")

    def on_input_submitted(self) -> None:
        """Enter in a field sends the form."""
        self.action_send()

    def action_cancel(self) -> None:
        """Closes it; nothing happens."""
        self.dismiss(False)

    def action_copy(self) -> None:
        """Copies the command line."""
        self.app.copy_to_clipboard(self._line)
        self.app.notify(f"copied: {self._line}", markup=False)

    def action_send(self) -> None:
        """Does it, once."""
        if not self._sending:
            self._sending = True
            self.workers.cancel_group(self, "check")
            self.run_worker(self._send(), group="send", exit_on_error=False)

    def _show_command(self) -> None:
        self._line = self._form.command(self.values)
        self.query_one("#dialog-command", Static).update(Content.assemble(("$ ", "$faint"), (self._line, "$muted")))

    def _check(self) -> None:
        self._show_command()
        restart(self, self._checked, "check")

    async def _checked_later(self) -> None:
        from asyncio import sleep

        await sleep(_PAUSE)
        await self._checked()

    async def _checked(self) -> bool:
        try:
            require_present(self._tui, self._form.sessions)
            outcome = await self._form.check(self.values)
        except NetvpsError as error:
            self._show(error)
            return False
        self._show(None, outcome)
        return True

    async def _send(self) -> None:
        try:
            if await self._checked():
                with self._shown_below():
                    await self._form.send(self.values)
                self.dismiss(True)
        except NetvpsError as error:
            self._show(error)
        finally:
            self._sending = False

    @contextmanager
    def _shown_below(self) -> Iterator[None]:
        """The page below shows what is done as a command line, unless it fails.

        From before it is done: what the page shows of the row under the cursor, once the server tells of the change, is
        newer, also if that comes before the answer.
        """
        from netvps_tui.pages.page import Page

        below = self.app.screen_stack[-2]
        if not isinstance(below, Page):
            yield
            return
        before = below.command_line
        below.show_command(self._line)
        try:
            yield
        except NetvpsError:
            below.show_command(before)
            raise

    def _show(self, error: NetvpsError | None, outcome: str = "") -> None:
        """Shows errors at their fields, and the others, or the outcome, below."""
        if isinstance(error, Unauthenticated):
            self._tui.live.end(error)
        found: Values = {}
        rest: list[str] = [] if error is None else [error.message]
        if isinstance(error, InvalidInput):
            rest = []
            for violation in error.violations:
                name = violation.field.rpartition(".")[2]
                if name in self.values and name not in found:
                    found[name] = violation.description
                else:
                    rest.append(f"{violation.field}: {violation.description}")
        for field in self._form.fields:
            line = self.query_one(f"#error-{field.name}", Static)
            line.update(Content(clean(found.get(field.name, ""))))
            line.set_class(field.name not in found, "hidden")
        shown = self.query_one("#outcome", Static)
        shown.set_class(error is not None, "bad")
        shown.update(Content(clean("; ".join(rest) if error is not None else outcome)))
