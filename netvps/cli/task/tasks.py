"""`netvps task`: what became of commands."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import TASK, USER
from netvps.cli.ui.output import Column, View, emit, format_option, note
from netvps.cli.ui.parse import DURATION
from netvps.display.units import age, moment_words

if TYPE_CHECKING:
    from netvps.domain.task.task import Task


@click.group("task")
def task() -> None:
    """See to commands that `netvps run` started, and end them.

    The id of an array stands for all of its tasks, ID-INDEX for one.
    """


@task.command("ls")
@click.argument("array", type=TASK, default="", metavar="[ID]")
@click.option("--user", type=USER, default="", help="Those of this user; '-' for all that you may see.")
@click.option("--unfinished", is_flag=True, help="Only those that have not ended.")
@format_option
def ls(array: str, user: str, unfinished: bool, form: str) -> None:
    """List your tasks, or those of an array, the oldest first.

    Example: netvps task ls --unfinished
    """
    found = list(client().list_tasks(user=user, array=array, unfinished=unfinished))
    if not found and form in {"table", "wide"}:
        note("no tasks: see netvps run --help")
    view().print_all(found, form)


@task.command("show")
@click.argument("task_id", type=TASK, metavar="ID")
@format_option
def show(task_id: str, form: str) -> None:
    """Print all about one task.

    Example: netvps task show ID-7
    """
    found = client().get_task(task_id)
    if form in {"table", "wide"}:
        for title, text in _lines(found):
            emit(f"{title}:".ljust(11) + text)
    else:
        view().print_one(found, form)


@task.command("logs")
@click.argument("task_id", type=TASK, metavar="ID")
@click.option("-f", "--follow", is_flag=True, help="Go on until the command ends.")
@click.option("--tail", type=click.IntRange(1, 100_000), default=None, metavar="N", help="The last lines only.")
def logs(task_id: str, follow: bool, tail: int | None) -> None:
    """Print what a command wrote, to stdout and stderr as it did.

    Of a long log the end is kept: 2 to 4 MiB with what Docker adds to each line, some 80 bytes.

    Example: netvps task logs -f ID
    """
    from netvps.cli.task.following import copy_log

    copy_log(client(), task_id, follow=follow, tail=tail or 0)


@task.command("wait")
@click.argument("task_ids", type=TASK, nargs=-1, required=True, metavar="ID…")
@click.option("--timeout", type=DURATION, default=None, metavar="TIME", help="Give up after this time.")
def wait(task_ids: tuple[str, ...], timeout: float | None) -> None:
    """Wait until tasks have ended, and print each with its state. Fails unless all succeeded.

    Example: netvps task wait ID --timeout 1h
    """
    from netvps.cli.task.following import require_success, until_ended

    connection, ended = client(), []
    end = None if timeout is None else time.monotonic() + timeout
    for task_id in task_ids:
        ended += until_ended(connection, task_id, None if end is None else max(0.0, end - time.monotonic()))
    for one in ended:
        emit(f"{one.id}\t{one.state}")
    require_success(ended)


@task.command("cancel")
@click.argument("task_ids", type=TASK, nargs=-1, required=True, metavar="ID…")
def cancel(task_ids: tuple[str, ...]) -> None:
    """End tasks: SIGTERM, and SIGKILL ten seconds later. Those that have ended stay so.

    Example: netvps task cancel ID
    """
    connection = client()
    for task_id in task_ids:
        for one in connection.cancel_tasks(task_id):
            emit(one.id)


def view() -> View[Task]:
    """How tasks are printed."""
    from netvps.cli.session.sessions import to_json

    return View(
        name=lambda one: one.id,
        columns=(
            Column("ID", lambda one: one.id),
            Column("STATE", lambda one: one.state),
            Column("EXIT", lambda one: "" if one.exit_code is None else str(one.exit_code)),
            Column("RUNNER", lambda one: one.runner_name),
            Column("AGE", lambda one: age(one.create_time)),
            Column("COMMAND", lambda one: " ".join(one.job.command)[:60]),
            Column("IMAGE", lambda one: one.spec.image, wide=True),
            Column("MESSAGE", lambda one: one.message, wide=True),
        ),
        json=to_json,
    )


def _lines(one: Task) -> list[tuple[str, str]]:
    """What people see of a task, each with its title."""
    from netvps.domain.access.quota import amount_words

    limits = amount_words("millicpus", one.cpu_claim)
    if one.spec.memory_bytes:
        limits += f", {amount_words('memory_bytes', one.spec.memory_bytes)}"
    lines = [
        ("id", one.id),
        ("state", one.state + (f" ({one.cause.lower().replace('_', ' ')})" if one.cause != "UNSPECIFIED" else "")),
        ("message", one.message),
        ("exit code", "" if one.exit_code is None else str(one.exit_code)),
        ("command", " ".join(one.job.command)),
        ("image", one.spec.image),
        ("limits", limits),
        ("runner", one.runner_name + (f" (attempt {one.epoch})" if one.epoch > 1 else "")),
        ("created", moment_words(one.create_time)),
        ("started", moment_words(one.start_time) if one.start_time else ""),
        ("ended", moment_words(one.end_time) if one.end_time else ""),
    ]
    return [(title, text) for title, text in lines if text]
