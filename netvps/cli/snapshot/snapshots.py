"""`netvps snapshot`: the files of a session at one time, taken, listed, restored and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from netvps.cli.server.connect import client
from netvps.cli.session.filters import wanted_labels
from netvps.cli.session.lifecycle import confirm
from netvps.cli.snapshot.archive import export, import_
from netvps.cli.snapshot.diff import snapshot_diff
from netvps.cli.ui.arguments import SESSION, SNAPSHOT
from netvps.cli.ui.output import Column, View, emit, format_option, note, print_fields
from netvps.cli.ui.parse import DURATION
from netvps.display.units import age, moment_words, size_words
from netvps.errors import WrongState

if TYPE_CHECKING:
    from netvps.client import Client
    from netvps.domain.session.session import Session
    from netvps.domain.snapshot.snapshot import Snapshot

_session = click.argument("name", type=SESSION, metavar="NAME")
_snapshot = click.argument("snapshot_id", type=SNAPSHOT, metavar="SNAPSHOT")
_wait = click.option("--wait/--no-wait", default=True, help="Wait until it is done (the default).")
_timeout = click.option("--timeout", type=DURATION, default="10m", show_default=True, help="How long to wait.")


def view() -> View[Snapshot]:
    """How snapshots are printed."""
    from netvps.cli.session.sessions import to_json
    from netvps.cli.snapshot.waiting import copies_words

    return View(
        name=lambda snapshot: snapshot.id,
        columns=(
            Column("SESSION", lambda snapshot: snapshot.session_name),
            Column("SNAPSHOT", lambda snapshot: snapshot.id),
            Column("STATE", lambda snapshot: snapshot.state),
            Column("CAUSE", lambda snapshot: snapshot.cause.lower()),
            Column("SIZE", lambda snapshot: size_words(snapshot.size_bytes) if snapshot.size_bytes else ""),
            Column("PINNED", lambda snapshot: "yes" if snapshot.pinned else ""),
            Column("AGE", lambda snapshot: age(snapshot.create_time)),
            Column("DESCRIPTION", lambda snapshot: snapshot.description),
            Column("COPIES", copies_words, wide=True),
            Column("RUNNER", lambda snapshot: ", ".join(one.name for one in snapshot.counted), wide=True),
            Column("UID", lambda snapshot: snapshot.uid, wide=True),
            Column("MESSAGE", lambda snapshot: snapshot.message, wide=True),
        ),
        json=to_json,
    )


@click.group("snapshot")
def snapshot() -> None:
    """Snapshots of sessions: their files at one time, to go back to or to clone."""


for _command in (snapshot_diff, export, import_):
    snapshot.add_command(_command)


@snapshot.command("create")
@_session
@click.argument("snapshot_id", type=SNAPSHOT, default="", metavar="[SNAPSHOT]")
@click.option("-d", "--description", default="", help="A note for people.")
@click.option("-l", "--label", "labels", multiple=True, metavar="K=V", help="A label; may be repeated.")
@click.option("--pin", is_flag=True, help="Protect it from deletion.")
@click.option("--copies", type=click.IntRange(1, 16), default=None, metavar="N",
              help="On how many runners to keep it; waits for all. By default as `set --copies` says.")  # fmt: skip
@_wait
@_timeout
@format_option
def create(
    name: str,
    snapshot_id: str,
    *,
    description: str,
    labels: tuple[str, ...],
    pin: bool,
    copies: int | None,
    wait: bool,
    timeout: float,
    form: str,
) -> None:
    """Take a snapshot of a running, paused or stopped session.

    A running session is paused while its files are read. Without SNAPSHOT it is named by the time.

    Example: netvps snapshot create dev1 before-upgrade
    """
    from netvps.cli.snapshot.waiting import require_ready, until_at_rest, until_copied
    from netvps.domain.snapshot.snapshot import SnapshotDraft

    given = {key: value or "" for key, value in wanted_labels(labels).items()}
    connection = client()
    taken = connection.create_snapshot(name, SnapshotDraft(snapshot_id, description, given, pin, copies or 0))
    if wait:
        taken = require_ready(until_at_rest(connection, taken, timeout), taken.id)
        taken = until_copied(connection, taken, timeout) if copies and taken.lacks else taken
    if form in {"table", "wide"}:
        emit(taken.id)
        _warn(taken)
        note(f"snapshot {taken.id} of session {name} " + ("is ready" if wait else "is being taken"))
    else:
        view().print_one(taken, form)


@snapshot.command("ls")
@click.argument("name", type=SESSION, default="", metavar="[NAME]")
@format_option
def ls(name: str, form: str) -> None:
    """List the snapshots of a session, or of all your sessions."""
    found = sorted(client().list_snapshots(name), key=lambda one: (one.session_name, one.create_time))
    if not found and form in {"table", "wide"}:
        note("no snapshots; `netvps snapshot create NAME` takes one, and so does every stop")
    view().print_all(found, form)


@snapshot.command("show")
@_session
@_snapshot
@format_option
def show(name: str, snapshot_id: str, form: str) -> None:
    """Tell all about a snapshot."""
    from netvps.cli.snapshot.waiting import copies_words

    found = client().get_snapshot(name, snapshot_id)
    if form not in {"table", "wide"}:
        view().print_one(found, form)
        return
    print_fields(
        [
            ("name", found.full_name),
            ("state", str(found.state)),
            ("why", found.reason),
            ("message", found.message),
            ("cause", found.cause.lower()),
            ("description", found.description),
            ("labels", ", ".join(f"{key}={value}" for key, value in found.labels.items())),
            ("pinned", "yes" if found.pinned else "no"),
            ("size", size_words(found.size_bytes) if found.size_bytes else ""),
            ("copies", copies_words(found)),
            ("on", ", ".join(holder.name for holder in found.counted)),
            ("left behind on", ", ".join(holder.name for holder in found.usable if holder.leaving)),
            ("damaged on", ", ".join(holder.name for holder in found.holders if holder.damaged)),
            *(("missing", warning) for warning in found.warnings),
            ("requested", moment_words(found.create_time)),
            ("ready", moment_words(found.ready_time) if found.ready_time else ""),
            ("uid", found.uid),
        ]
    )


@snapshot.command("copies")
@_session
@_snapshot
@click.argument("count", type=click.IntRange(1, 16), metavar="N")
@_wait
@_timeout
def copies(name: str, snapshot_id: str, count: int, *, wait: bool, timeout: float) -> None:
    """Keep a snapshot on N runners, so that it survives the loss of a machine.

    Copies that are missing are made, each verified by its digest; those beyond N are removed.

    Example: netvps snapshot copies dev1 before-upgrade 2
    """
    from netvps.cli.snapshot.waiting import copies_words, until_copied
    from netvps.domain.snapshot.snapshot import SnapshotChange

    connection = client()
    changed = connection.update_snapshot(name, snapshot_id, SnapshotChange(copies=count))
    changed = until_copied(connection, changed, timeout) if wait else changed
    emit(snapshot_id)
    on = ", ".join(holder.name for holder in changed.counted)
    note(f"snapshot {snapshot_id} of session {name} has {copies_words(changed)} copies, on {on}")


@snapshot.command("restore")
@_session
@_snapshot
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@_wait
@_timeout
def restore(name: str, snapshot_id: str, *, yes: bool, wait: bool, timeout: float) -> None:
    """Give a session the files of a snapshot, in place.

    Its present state becomes a snapshot first. Name, address and host key stay; a running session runs again after it.
    Asks for the name of the session, unless --yes is given.

    Example: netvps snapshot restore dev1 before-upgrade
    """
    if not yes:
        confirm((name,), "session", "replaces its files, after a snapshot of them was taken")
    connection = client()
    session = connection.restore_snapshot(name, snapshot_id)
    if not wait:
        note(f"session {name} is being restored; `netvps watch` shows how it gets on")
        return
    previous = _restored(connection, session, name, timeout)
    emit(name)
    note(f"session {name} has the files of snapshot {snapshot_id}; those before it are in snapshot {previous}")


@snapshot.command("rm")
@_session
@click.argument("snapshot_ids", nargs=-1, required=True, type=SNAPSHOT, metavar="SNAPSHOT...")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@_wait
@_timeout
def rm(name: str, snapshot_ids: tuple[str, ...], *, yes: bool, wait: bool, timeout: float) -> None:
    """Delete snapshots, without a way back.

    Asks for the name, unless --yes is given. One that is pinned or in use is refused.

    Example: netvps snapshot rm dev1 before-upgrade
    """
    if not yes:
        confirm(snapshot_ids, "snapshot", "deletes it, without a way back")
    from netvps.cli.snapshot.waiting import until_at_rest

    connection = client()
    for snapshot_id in dict.fromkeys(snapshot_ids):
        gone = connection.delete_snapshot(name, snapshot_id)
        if wait:
            until_at_rest(connection, gone, timeout)
        emit(snapshot_id)
        note(f"snapshot {snapshot_id} of session {name} is {'gone' if wait else 'being deleted'}")


@snapshot.command("pin")
@_session
@_snapshot
def pin(name: str, snapshot_id: str) -> None:
    """Protect a snapshot, and its session, from deletion."""
    _pin(name, snapshot_id, pinned=True)


@snapshot.command("unpin")
@_session
@_snapshot
def unpin(name: str, snapshot_id: str) -> None:
    """Lift the protection of a snapshot."""
    _pin(name, snapshot_id, pinned=False)


@click.command("clone")
@_session
@click.argument("new", type=SESSION, default="", metavar="[NEW]")
@click.option("--snapshot", "snapshot_id", type=SNAPSHOT, default="", metavar="SNAPSHOT",
              help="Clone this snapshot, not the present state.")  # fmt: skip
@_wait
@_timeout
def clone(name: str, new: str, *, snapshot_id: str, wait: bool, timeout: float) -> None:
    """Make a new session with the files and the parameters of another.

    Host key, machine id and address are new. Without NEW the server picks a name.

    Example: netvps clone dev1 dev2
    """
    from netvps.cli.ui.waiting import require, until_settled

    connection = client()
    made = connection.clone_session(name, new, snapshot=snapshot_id)
    if wait:
        (made,) = until_settled(connection, [made], timeout)
        require(made, made.name)
    emit(made.name)
    note(f"session {made.name} " + (f"runs on {made.runner_name}" if wait else "is being made"))
    note(f"next: netvps ssh {made.name}")


def _pin(name: str, snapshot_id: str, *, pinned: bool) -> None:
    from netvps.domain.snapshot.snapshot import SnapshotChange

    client().update_snapshot(name, snapshot_id, SnapshotChange(pinned=pinned))
    emit(snapshot_id)
    note(f"snapshot {snapshot_id} of session {name} is {'pinned' if pinned else 'not pinned any more'}")


def _restored(connection: Client, session: Session, called: str, timeout: float) -> str:
    """Waits for the restore; returns the id of the snapshot of what it replaced. Raises WrongState if it failed."""
    from netvps.cli.ui.waiting import require, until_settled
    from netvps.domain.session.lifecycle import settled
    from netvps.domain.snapshot.snapshot import RestoreState

    (done,) = until_settled(connection, [session], timeout, lambda one: one.pending_restore is None and settled(one))
    outcome = done.restore
    if outcome is None or outcome.state is RestoreState.FAILED:
        why = outcome.message if outcome else "another restore replaced it"
        raise WrongState(f"session {called} was not restored, and has the files that it had: {why}")
    require(done, called)
    previous = [one.id for one in connection.list_snapshots(called) if one.uid == outcome.previous]
    return previous[0] if previous else outcome.previous


def _warn(taken: Snapshot) -> None:
    for warning in taken.warnings:
        note(f"netvps: warning: {warning}")
