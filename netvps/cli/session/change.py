"""`netvps pause`, `resume`, `rename`, `resize` and `set`: what changes of a session without a stop."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from netvps.cli.server.connect import client, context
from netvps.cli.session.lifecycle import ask_each, names_argument, timeout_option, until_settled, wait_option
from netvps.cli.session.spec_options import IDLE, RESTART, WAKE, awake_hours, idle_time, options_named
from netvps.cli.ui.arguments import SESSION
from netvps.cli.ui.output import emit, note
from netvps.cli.ui.parse import DURATION, SIZE, Number, pairs
from netvps.display.units import size_words

if TYPE_CHECKING:
    from netvps.client import Client
    from netvps.domain.session.session import Session
    from netvps.domain.session.spec import RestartPolicy, SessionSpec


@click.command("pause")
@names_argument
@wait_option
@timeout_option
def pause(names: tuple[str, ...], wait: bool, timeout: float) -> None:
    """Freeze running sessions; a login resumes them.

    Their processes stop where they are and use no CPU; connections stay open. Memory is given back as far as the
    machine can, which needs cgroup version 2, and swap for all but file contents.

    Example: netvps pause dev1
    """
    connection = client()
    settle = partial(until_settled, connection, timeout)
    ask_each(connection.pause_session, names, wait=wait, settle=settle, done=_paused)


@click.command("resume")
@names_argument
@wait_option
@timeout_option
def resume(names: tuple[str, ...], wait: bool, timeout: float) -> None:
    """Let paused sessions go on where they were.

    Example: netvps resume dev1
    """
    connection = client()
    settle = partial(until_settled, connection, timeout)
    ask_each(connection.resume_session, names, wait=wait, settle=settle, done=lambda *_: "runs")


@click.command("rename")
@click.argument("name", type=SESSION)
@click.argument("new_name", metavar="NEW_NAME")
def rename(name: str, new_name: str) -> None:
    """Give a session another name; files, address and host key stay.

    Logins and DNS know the new name at once, and the old one is free. Programs inside see it as hostname after the
    next stop and start.

    Example: netvps rename dev1 web
    """
    with options_named():
        session = client().rename_session(name, new_name)
    emit(session.name)
    note(f"session {name} is {session.name} now")
    from netvps.cli.access import config_ssh

    config_ssh.forget(context(), [name])


@click.command("resize")
@names_argument
@click.option("--cpus", type=Number("1.5"), default=None, metavar="N", help="Limit of CPUs; 0 means no limit.")
@click.option("--memory", type=SIZE, default=None, help="Limit of memory, for example 2G; 0 means no limit.")
@click.option("--disk", type=SIZE, default=None, help="Limit of what it writes, from its next start; 0 means no limit.")
@click.option("--pids", type=int, default=None, metavar="N", help="Limit of processes and threads.")
@wait_option
@timeout_option
def resize(
    *,
    names: tuple[str, ...],
    cpus: float | None,
    memory: int | None,
    disk: int | None,
    pids: int | None,
    wait: bool,
    timeout: float,
) -> None:
    """Change the limits of sessions, also while they run, without a restart.

    A session that uses more memory or processes than a new limit keeps its old limits. A new limit of its disk holds
    from its next start on: its container is made again then, with all its files. Where that cannot be, it keeps its
    limit, and `show` says why.

    Example: netvps resize dev1 --cpus 2 --memory 4G
    """
    changes = _given(cpus=cpus, memory_bytes=memory, disk_bytes=disk, pids=pids)
    if not changes:
        raise click.UsageError("no limit is given: give --cpus, --memory, --disk or --pids")
    connection = client()
    settle = partial(until_settled, connection, timeout)
    ask_each(partial(_update, connection, changes), names, wait=wait, settle=settle, done=lambda one, _: _limits(one))


@click.command("set")
@names_argument
@click.option("--protect/--no-protect", default=None, help="Refuse to remove it, or permit that again.")
@click.option(
    "--restart",
    type=RESTART,
    default=None,
    metavar="POLICY",
    help="When its container ends by itself: always, on-failure[:N] or never.",
)
@click.option("--wake", type=click.Choice(WAKE), default=None, help="Which logins start it once it is stopped.")
@click.option(
    "--idle-pause",
    type=IDLE,
    default=None,
    metavar="TIME",
    help="Pause it after this time without activity; or never, or default.",
)
@click.option(
    "--idle-stop",
    type=IDLE,
    default=None,
    metavar="TIME",
    help="Stop it after this time without activity; or never, or default.",
)
@click.option(
    "--lifetime", type=DURATION, default=None, metavar="TIME", help="Stop it this long after each start; 0s ends that."
)
@click.option(
    "--awake",
    "hours",
    default=None,
    metavar="HOURS",
    help="Stop it when these hours end (UTC), for example 'mon-fri 08:00-18:00'; or always.",
)
@click.option(
    "--idle-cpus",
    "cpu_floor",
    type=Number("0.1"),
    default=None,
    metavar="N",
    help="Busy CPUs from which on it counts as active; 0 is the default, 0.05.",
)
@click.option("--stop-grace", type=DURATION, default=None, help="Time between SIGTERM and SIGKILL at a stop.")
@click.option("-l", "--label", "labels", multiple=True, metavar="K=V", help="Set a label; may be repeated.")
@click.option("--no-label", "dropped", multiple=True, metavar="K", help="Remove a label; may be repeated.")
@click.option(
    "--exclude",
    "excluded",
    multiple=True,
    metavar="PATH",
    help="Leave what is below this folder out of snapshots; may be repeated.",
)
@click.option("--no-exclude", "included", multiple=True, metavar="PATH", help="Take it again; may be repeated.")
@click.option(
    "--snapshot-every",
    "every",
    type=DURATION,
    default=None,
    metavar="TIME",
    help="Take a snapshot this often while it runs; 0s ends the schedule.",
)
@click.option(
    "--snapshot-daily",
    "daily_at",
    default=None,
    metavar="HH:MM",
    help="Take a snapshot every day at this time (UTC), if it runs.",
)
@click.option(
    "--snapshot-keep",
    "keep",
    type=int,
    default=None,
    metavar="N",
    help="How many of these to keep; 0 is the default, 7.",
)
@click.option(
    "--snapshot-max-age",
    "max_age",
    type=DURATION,
    default=None,
    metavar="TIME",
    help="Delete these at this age, all but the latest; 0s ends that.",
)
@click.option(
    "--stop-keep", type=int, default=None, metavar="N", help="How many snapshots of stops to keep; 0 is the default, 1."
)
@click.option(
    "--stop-max-age",
    type=DURATION,
    default=None,
    metavar="TIME",
    help="Delete snapshots of stops, moves and restores at this age; 0s ends that.",
)
@click.option(
    "--copies",
    type=int,
    default=None,
    metavar="N",
    help="On how many runners each later snapshot should be; 0 is the server's setting.",
)
def set_(
    *,
    names: tuple[str, ...],
    excluded: tuple[str, ...],
    included: tuple[str, ...],
    every: float | None,
    daily_at: str | None,
    keep: int | None,
    max_age: float | None,
    stop_keep: int | None,
    stop_max_age: float | None,
    copies: int | None,
    protect: bool | None,
    restart: tuple[RestartPolicy, int] | None,
    stop_grace: float | None,
    wake: str | None,
    idle_pause: float | None,
    idle_stop: float | None,
    lifetime: float | None,
    hours: str | None,
    cpu_floor: float | None,
    labels: tuple[str, ...],
    dropped: tuple[str, ...],
) -> None:  # fmt: skip
    """Change settings of sessions, also while they run.

    \b
    Examples: netvps set dev1 --protect
              netvps set dev1 --restart on-failure:3 -l team=x
              netvps set dev1 --idle-stop 2h --awake 'mon-fri 08:00-18:00'
    """  # noqa: D301 — Click means the character
    policy, most = restart or (None, None)
    changes = _given(delete_protection=protect, restart_policy=policy, max_restarts=most, stop_grace=stop_grace)
    changes |= _given(snapshot_keep=stop_keep, snapshot_max_age=stop_max_age)
    if wake is not None:
        from netvps.domain.sleep.policy import WakePolicy

        changes["wake"] = WakePolicy(wake.upper())
    put = pairs(labels, "--label")
    snapshots = _given(every=every, daily_at=daily_at, keep=keep, max_age=max_age, copies=copies)
    if every:
        snapshots.setdefault("daily_at", "")
    if daily_at:
        snapshots.setdefault("every", 0.0)
    sleep = _given(lifetime=lifetime, cpu_floor=cpu_floor)
    sleep |= {} if hours is None else {"awake_hours": awake_hours(hours)}
    idle = _given(pause_after=idle_pause, stop_after=idle_stop)
    sleep |= {field: idle_time(value) for field, value in idle.items()}
    reads = bool(put or dropped or excluded or included or snapshots or sleep)
    if not (changes or reads):
        raise click.UsageError("nothing is given to change; see `netvps set --help`")
    connection = client()

    def change(name: str) -> Session:
        if not reads:
            return _update(connection, changes, name)
        now = connection.get_session(name)  # labels and policies are replaced as a whole
        also: dict[str, Any] = {}
        if put or dropped:
            kept = {key: value for key, value in now.spec.labels.items() if key not in dropped}
            also["labels"] = kept | put
        if excluded or included or snapshots:
            before = now.spec.snapshot_policy
            paths = dict.fromkeys((*before.excluded_paths, *excluded))
            left_out = tuple(path for path in paths if path not in included)
            with options_named():
                also["snapshot_policy"] = replace(before, excluded_paths=left_out, **snapshots)
        if sleep:
            with options_named():
                also["sleep"] = replace(now.spec.sleep, **sleep)
        return _update(connection, changes | also, name, expected_revision=now.revision)

    ask_each(change, names, wait=True, settle=list, done=lambda *_: "is changed")


def _update(connection: Client, changes: dict[str, Any], name: str, *, expected_revision: int = 0) -> Session:
    with options_named():
        return connection.update_session(name, _spec(changes), changes, expected_revision=expected_revision)


def _spec(changes: dict[str, Any]) -> SessionSpec:
    """A spec with the new values; the rest of it does not count."""
    from netvps.domain.session.spec import SessionSpec

    return SessionSpec(**changes)


def _given(**options: Any) -> dict[str, Any]:
    return {field: value for field, value in options.items() if value is not None}


def _paused(_: Session, name: str) -> str:
    return f"is paused; `netvps resume {name}`, or a login, resumes it"


def _limits(session: Session) -> str:
    """What a session has now, and when a new limit of its disk holds."""
    from netvps.domain.session.lifecycle import DISK_LIMIT

    spec = session.spec
    cpus = f"{spec.cpus:g} CPUs" if spec.cpus else "all CPUs"
    memory = f"{size_words(spec.memory_bytes)} of memory" if spec.memory_bytes else "all memory"
    words = f"has {cpus}, {memory} and at most {spec.pids} processes"
    if session.reason == DISK_LIMIT:
        return f"{words}; {session.message}"
    return f"{words}, and {size_words(spec.disk_bytes)} of disk" if spec.disk_bytes else words
