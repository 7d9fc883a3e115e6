"""The questions about snapshots: take, restore, clone, delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.client import SnapshotDraft
from netvps.domain.names import SessionName
from netvps.errors import InvalidInput
from netvps_tui.commands import called, command_line
from netvps_tui.dialogs.form import Field, Form, FormDialog
from netvps_tui.dialogs.present import present

if TYPE_CHECKING:
    from collections.abc import Mapping

    from netvps.client import Session, Snapshot
    from netvps_tui.app import NetvpsApp


def ask_take(app: NetvpsApp, session: Session) -> None:
    """Takes a snapshot, of a running session, too."""
    name = called(session, app.me)
    fields = [Field("snapshot_id", "Name", hint="the server chooses one"), Field("description", "Description")]

    def draft(values: Mapping[str, str]) -> SnapshotDraft:
        return SnapshotDraft(values["snapshot_id"], values["description"])

    def command(values: Mapping[str, str]) -> str:
        words = [values["snapshot_id"]] if values["snapshot_id"] else []
        words += ["--description", values["description"]] if values["description"] else []
        return command_line("snapshot", "create", name, *words)

    async def check(values: Mapping[str, str]) -> str:
        draft(values)
        return "It goes on running." if session.state == "RUNNING" else ""

    async def send(values: Mapping[str, str]) -> None:
        await app.client.create_snapshot(str(present(app, session).full_name), draft(values))

    app.push_screen(FormDialog(Form(f"Snapshot of {name}", "", fields, "take", command, check, send, [session])))


def ask_restore(app: NetvpsApp, session: Session, snapshot: Snapshot) -> None:
    """Gives a session the files of a snapshot, once its name is typed."""
    name = called(session, app.me)

    async def check(_: Mapping[str, str]) -> str:
        return ""

    async def send(values: Mapping[str, str]) -> None:
        if values["name"] != name:
            raise InvalidInput.of("name", f"that is not {name}; nothing was restored")
        app.live.answer(await app.client.restore_snapshot(str(present(app, session).full_name), snapshot.id))

    text = f"Its files become those of {snapshot.id}. The present ones become a snapshot first."
    field = Field("name", "Type its name", hint=name)
    line = command_line("snapshot", "restore", name, snapshot.id)
    form = Form(f"Restore {name}?", text, [field], "restore", lambda _: line, check, send, [session], danger=True)
    app.push_screen(FormDialog(form))


def ask_clone(app: NetvpsApp, session: Session, snapshot: Snapshot | None = None) -> None:
    """Makes another session of a snapshot, or of the present state."""
    name = called(session, app.me)
    words = ["--snapshot", snapshot.id] if snapshot else []

    async def check(values: Mapping[str, str]) -> str:
        if values["session_id"]:
            SessionName.parse(values["session_id"], app.me or session.owner)
        return f"with the files of {snapshot.id}" if snapshot else "with its present files"

    async def send(values: Mapping[str, str]) -> None:
        made = await app.client.clone_session(
            str(present(app, session).full_name), values["session_id"], snapshot=snapshot.id if snapshot else ""
        )
        app.call_later(app.look_at, made)  # once the dialog is gone

    form = Form(
        f"Clone {name}",
        "",
        [Field("session_id", "Name", hint="the server chooses one")],
        "clone",
        lambda values: command_line("clone", name, *filter(None, [values["session_id"]]), *words),
        check,
        send,
        [session],
    )
    app.push_screen(FormDialog(form))


def ask_delete_snapshot(app: NetvpsApp, session: Session, snapshot: Snapshot) -> None:
    """Deletes a snapshot once its name is typed."""
    line = command_line("snapshot", "rm", called(session, app.me), snapshot.id)

    async def check(_: Mapping[str, str]) -> str:
        return ""

    async def send(values: Mapping[str, str]) -> None:
        if values["name"] != snapshot.id:
            raise InvalidInput.of("name", f"that is not {snapshot.id}; nothing was deleted")
        await app.client.delete_snapshot(str(present(app, session).full_name), snapshot.id)

    text = "These files are then in no snapshot, unless another has them. The session is not touched."
    field = Field("name", "Type its name", hint=snapshot.id)
    title = f"Delete {snapshot.id}?"
    form = Form(title, text, [field], "delete", lambda _: line, check, send, [session], danger=True)
    app.push_screen(FormDialog(form))
