"""What can be done with sessions: the same keys on every page that shows some."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType

from netvps_tui.commands import command_line, names_of
from netvps_tui.connect import Place
from netvps_tui.dialogs.session import ask_delete, ask_forward, ask_new, ask_rename, ask_resize, ask_stop
from netvps_tui.dialogs.snapshot import ask_clone
from netvps_tui.pages.page import Page

if TYPE_CHECKING:
    from netvps.client import Session

CHANGES = frozenset({"new", "stop", "start", "pause", "rename", "resize", "clone", "delete"})
"""Actions that `--read-only` leaves out."""


class SessionActions(Page):
    """A page that shows sessions."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("s", "ssh", "ssh"),
        Binding("n", "new", "new"),
        Binding("x", "stop", "stop"),
        Binding("r", "start", "start"),
        Binding("l", "logs", "logs"),
        Binding("f", "forward", "forward ports", show=False),
        Binding("p", "snapshots", "snapshots", show=False),
        Binding("c", "clone", "clone", show=False),
        Binding("z", "pause", "pause, resume", show=False),
        Binding("R", "rename", "rename", show=False),
        Binding("e", "resize", "limits", show=False),
        Binding("d", "delete", "delete", show=False),
    ]

    def target(self) -> Session | None:
        """The session that is looked at."""
        raise NotImplementedError

    def targets(self) -> list[Session]:
        """The sessions that are marked, or the one that is looked at."""
        session = self.target()
        return [session] if session else []

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Read-only leaves out changes."""
        return not (self.tui.read_only and action in CHANGES)

    def action_ssh(self) -> None:
        """Goes into the session."""
        if session := self.target():
            self.show_command(command_line("ssh", self.called(session)))
            self.tui.connect.ssh(self.app, str(session.full_name), Place(self.tab, session.uid))

    def action_start(self) -> None:
        """Starts sessions that are stopped or failed."""
        if sessions := self.targets():
            self.show_command(command_line("start", *names_of(sessions, self.tui.me)))
            self.tui.change(sessions, self.tui.client.start_session)

    def action_pause(self) -> None:
        """Freezes running sessions, and lets frozen ones go on."""
        for state, verb, ask in (
            ("PAUSED", "resume", self.tui.client.resume_session),
            ("RUNNING", "pause", self.tui.client.pause_session),
        ):
            if sessions := [session for session in self.targets() if session.state == state]:
                self.show_command(command_line(verb, *names_of(sessions, self.tui.me)))
                self.tui.change(sessions, ask)

    def action_stop(self) -> None:
        """Stops sessions, once that is confirmed."""
        if sessions := self.targets():
            ask_stop(self.tui, sessions)

    def action_delete(self) -> None:
        """Removes sessions, once their name is typed."""
        if sessions := self.targets():
            ask_delete(self.tui, sessions)

    def action_new(self) -> None:
        """Asks what to create."""
        ask_new(self.tui)

    def action_rename(self) -> None:
        """Asks for another name."""
        if session := self.target():
            ask_rename(self.tui, session)

    def action_resize(self) -> None:
        """Asks for other limits."""
        if session := self.target():
            ask_resize(self.tui, session)

    def action_forward(self) -> None:
        """Asks which ports to make reachable."""
        if session := self.target():
            ask_forward(self.tui, session)

    def action_clone(self) -> None:
        """Asks for the name of a copy."""
        if session := self.target():
            ask_clone(self.tui, session)

    def action_snapshots(self) -> None:
        """Shows its snapshots."""
        from netvps_tui.pages.snapshots import SnapshotsPage

        if session := self.target():
            self.app.push_screen(SnapshotsPage(session))

    def action_logs(self) -> None:
        """Shows what the container wrote."""
        from netvps_tui.pages.logs import LogsPage

        if session := self.target():
            self.app.push_screen(LogsPage(session))
