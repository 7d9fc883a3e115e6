"""`netvps ls` and `netvps show`: sessions as they are."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from netvps.cli.server.connect import client, context
from netvps.cli.session.filters import STATES, matches, order_by, wanted_labels
from netvps.cli.ui.arguments import SESSION, USER
from netvps.cli.ui.output import Column, View, emit, format_option, note, print_fields
from netvps.display.units import age, duration_words, gpu_words, moment_words, size_words
from netvps.errors import NotPermitted, WrongState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from netvps.client import Client, SessionFilter
    from netvps.domain.session.session import Author, LastExit, Session
    from netvps.domain.session.spec import SessionSpec
    from netvps.domain.snapshot.snapshot import Snapshot


def called(session: Session, *, own: bool) -> str:
    """The name to type for a session: short for one's own."""
    return session.name if own else str(session.full_name)


def view(*, own: bool, copies: Mapping[str, str] | None = None) -> View[Session]:
    """How sessions are printed; one's own are named without their owner.

    `copies` says by uid how many of its copies the newest snapshot of a session has.
    """
    held = copies or {}
    return View(
        name=lambda session: called(session, own=own),
        columns=(
            Column("NAME", lambda session: called(session, own=own)),
            Column("STATE", lambda session: session.state),
            Column("IMAGE", lambda session: session.spec.image),
            Column("RUNNER", lambda session: session.runner_name),
            Column("AGE", lambda session: age(session.create_time)),
            Column("ADDRESS", lambda session: session.address, wide=True),
            Column("COPIES", lambda session: held.get(session.uid, ""), wide=True),
            Column("GPUS", lambda session: str(len(session.gpus) or ""), wide=True),
            Column("WANTED", lambda session: session.desired, wide=True),
            Column("UID", lambda session: session.uid, wide=True),
            Column("MESSAGE", lambda session: session.message, wide=True),
        ),
        json=to_json,
    )


def to_json(value: Any) -> dict[str, Any]:
    """A domain value in the JSON form of its proto."""
    from netvps.rpc import jsonform

    return jsonform.to_json(value)


@click.command("ls")
@click.option("-a", "--all", "everybody", is_flag=True, help="All sessions you may see, not only your own.")
@click.option("--owner", type=USER, default="", metavar="USER", help="The sessions of this user.")
@click.option("-l", "--label", "labels", multiple=True, metavar="K[=V]", help="Those with this label; may be repeated.")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(STATES, case_sensitive=False),
    metavar="STATE",
    help="Those in this state; may be repeated.",
)
@click.option(
    "--filter", "matching", default="", metavar="FILTER", help='Those that match, for example "runner=box1 api".'
)
@click.option(
    "--sort", default="", metavar="FIELDS", help="In this order, for example 'state, age desc'; without it by name."
)
@click.option("-q", "--quiet", is_flag=True, help="Names only; the same as -o name.")
@click.option("-w", "--watch", "live", is_flag=True, help="Print the list again at each change, until Ctrl-C.")
@format_option
def ls(
    *,
    everybody: bool,
    owner: str,
    labels: tuple[str, ...],
    states: tuple[str, ...],
    matching: str,
    sort: str,
    quiet: bool,
    live: bool,
    form: str,
) -> None:
    """List sessions.

    \b
    Examples: netvps ls -o wide
              netvps ls --state running -l team=x
              netvps ls --filter 'image:debian -runner=box1'
              netvps ls --filter 'state=failed OR create_time<2026-05-01' --sort 'age desc'

    A filter is words that the name, owner, state, image, runner or address contains, and FIELD=VALUE, FIELD!=VALUE
    and FIELD:PART of these and of labels.KEY, and create_time with <, <=, > or >=. All of them match; OR, NOT (or -)
    and parentheses join them otherwise.
    """  # noqa: D301 — Click means the character
    if everybody and owner:
        raise click.UsageError("--all and --owner exclude each other: give one of them")
    form = "name" if quiet else form
    if live and form not in {"table", "wide", "name"}:
        raise click.UsageError("--watch prints tables; `netvps watch -o jsonl` streams changes for programs")
    parent, labelled = "-" if everybody else owner, wanted_labels(labels)
    own = not (everybody or owner)
    order = order_by(sort)
    filtered = _filter(matching, order) if live else None

    def show_all(sessions: Iterable[Session]) -> None:
        wanted: Iterable[Session] = (session for session in sessions if matches(session, labelled, states))
        if filtered is not None:
            own_order = sorted(filter(filtered.matches, wanted), key=lambda session: (session.name, session.owner))
            wanted = filtered.sorted(own_order)
        copies = copies_of(client(), parent) if form == "wide" else None
        shown = view(own=own, copies=copies)
        if form not in {"table", "wide"}:
            shown.print_all(wanted, form)
            return
        found = [*wanted]
        if not found:
            none = "no sessions yet; `netvps create` makes one"
            note(none if not (everybody or owner or labels or states or matching) else "no sessions like that")
        shown.print_all(found, form)

    if not live:
        show_all(client().list_sessions(parent, matching, order))
        return
    from netvps.cli.session.live_list import LiveList
    from netvps.cli.ui.follow import pumped

    with pumped(client(), parent, 0) as pump:
        LiveList(show_all).follow(pump)


def copies_of(connection: Client, parent: str) -> dict[str, str]:
    """How many of its copies the newest READY snapshot of each session has, "1/2", by uid of the session."""
    from netvps.cli.snapshot.waiting import copies_words

    newest: dict[str, Snapshot] = {}
    for snapshot in connection.list_snapshots(parent=parent):
        before = newest.get(snapshot.session)
        if snapshot.state == "READY" and (before is None or before.uid < snapshot.uid):  # uids are ordered by time
            newest[snapshot.session] = snapshot
    return {uid: copies_words(snapshot) for uid, snapshot in newest.items()}


def _filter(matching: str, order: str) -> SessionFilter:
    """The filter and the order. Raises InvalidInput."""
    from netvps.domain.filter.kinds import SessionFilter  # only with --watch: otherwise the server has it

    return SessionFilter.parse(matching, order)


@click.command("show")
@click.argument("name", type=SESSION)
@format_option
def show(name: str, form: str) -> None:
    """Tell all about a session, and how to reach it.

    Example: netvps show dev1
    """
    connection = client()
    session = connection.get_session(name)
    if form not in {"table", "wide"}:
        view(own="." not in name).print_one(session, form)
        return
    from netvps.cli.access.gateway import plain_ssh
    from netvps.cli.scheduling.lease import leased

    others = (*leased(connection, session), *_shares(connection, session), *_urls(connection, session))
    print_fields([*_facts(session), *others])
    emit("")
    print_fields([("log in", f"netvps ssh {name}"), ("or", plain_ssh(name, connection.server_info(), context()))])


def _shares(connection: Client, session: Session) -> list[tuple[str, str]]:
    """With whom it is shared, for its owner and admins."""
    from netvps.cli.sharing.shares import sentence

    try:
        return [("shared", sentence(share)) for share in connection.list_shares(str(session.full_name))]
    except (NotPermitted, WrongState):  # shared with the caller; or an older server
        return []


def _urls(connection: Client, session: Session) -> list[tuple[str, str]]:
    """Which of its ports more people may open, for its owner and admins."""
    from netvps.cli.http.stored import sentence

    try:
        return [("URL", sentence(url)) for url in connection.list_urls(str(session.full_name))]
    except (NotPermitted, WrongState):  # shared with the caller; or an older server
        return []


def exit_words(last: LastExit) -> str:
    """How a container ended, and who ended it: "stopped by alice", "out of memory (exit code 137)"."""
    causes = {"exit": "ended by itself", "oom": "out of memory", "killed": "killed", "runner_lost": "its machine ended"}
    if last.cause == "stopped":
        by = author_words(last.author)
        return f"stopped by {by}" if by else "stopped"
    return f"{causes.get(last.cause, last.cause)} (exit code {last.exit_code})"


def author_words(author: Author) -> str:
    """Who asked for a state, and why if not because they wanted it: "alice", "alice (login)", "idle"."""
    why = {"PERSON": "", "UNSPECIFIED": "", "ENDED": "itself"}.get(author.cause, author.cause.lower())
    return f"{author.actor} ({why})" if author.actor and why else author.actor or why


def _restart_words(spec: SessionSpec) -> str:
    words = {"ALWAYS": "always", "ON_FAILURE": "after failures", "NEVER": "never"}[spec.restart_policy]
    return f"{words}, at most {spec.max_restarts} in a row" if spec.max_restarts else words


def _wake_words(spec: SessionSpec) -> str:
    """Which logins start it, where that is not the default."""
    return {"ALWAYS": "any login", "NEVER": "logins as wake+NAME only"}.get(spec.wake, "")


def _sleep_words(spec: SessionSpec) -> str:
    """When it is paused and stopped by itself, where that is not the server's default."""
    policy = spec.sleep
    timers = (("paused", policy.pause_after), ("stopped", policy.stop_after))
    words = [f"{what} after {duration_words(time)} idle" if time else f"never {what} when idle"
             for what, time in timers if time is not None]  # fmt: skip
    if policy.lifetime:
        words.append(f"stopped {duration_words(policy.lifetime)} after each start")
    if policy.awake_hours:
        words.append(f"stopped at the end of {policy.awake_hours} UTC")
    return ", ".join(words)


def _gpus(session: Session) -> str:
    """Those that it holds; those that it asks for while it holds none; '' for none."""
    spec = session.spec
    if session.gpus or not spec.gpu_count:
        return ", ".join(session.gpus)
    return f"none now; it asks for {', '.join(spec.gpu_ids) or gpu_words(spec.gpu_count)}"


def _facts(session: Session) -> list[tuple[str, str]]:
    spec, snapshot, last = session.spec, session.snapshot, session.last_exit
    facts = [
        ("name", str(session.full_name)),
        ("state", str(session.state)),
        ("why", session.reason),
        ("message", session.message),
        ("wanted", str(session.desired) if session.desired != str(session.state) else ""),
        ("asked by", author_words(session.desired_by)),
        ("image", spec.image),
        ("runner", session.runner_name),
        ("only on", spec.runner_filter),
        ("address", session.address),
        ("cpus", f"{spec.cpus:g}" if spec.cpus else "no limit"),
        ("memory", size_words(spec.memory_bytes) if spec.memory_bytes else "no limit"),
        ("disk", size_words(spec.disk_bytes) if spec.disk_bytes else "no limit"),
        ("gpus", _gpus(session)),
        ("shared memory", size_words(spec.shm_bytes) if spec.shm_bytes else "half of the memory"),
        ("processes", f"at most {spec.pids}"),
        ("open files", f"at most {spec.open_files} a process" if spec.open_files else ""),
        ("network", spec.network.lower()),
        ("stop grace", duration_words(spec.stop_grace)),
        ("restarts", _restart_words(spec)),
        ("woken by", _wake_words(spec)),
        ("sleep", _sleep_words(spec)),
        ("protected", "from deletion" if spec.delete_protection else ""),
        ("entrypoint", "runs" if spec.run_entrypoint else ""),
        ("command", shlex.join(spec.command)),
        ("copies", f"of each snapshot on {spec.snapshot_policy.copies} runners" if spec.snapshot_policy.copies else ""),
        ("environment", ", ".join(spec.env)),
        ("labels", ", ".join(f"{key}={value}" for key, value in spec.labels.items())),
    ]
    if session.state == "STOPPED" and session.runner_name:
        kept = (
            f"with Docker on {session.runner_name}: `docker system prune` and `docker volume prune` there remove such"
        )
        facts.append(("files", kept))
    if snapshot is not None:
        taken = moment_words(snapshot.create_time)
        facts.append(("snapshot", f"{taken}, {size_words(snapshot.size_bytes)}, {snapshot.image}"))
    if last is not None:
        facts.append(("last exit", f"{exit_words(last)}, at {moment_words(last.end_time)}"))
    return [*facts, ("created", moment_words(session.create_time)), ("uid", session.uid)]
