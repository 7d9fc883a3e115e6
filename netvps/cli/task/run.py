"""`netvps run`: a command to its end, in a container of its own."""

from __future__ import annotations

from typing import Any

import click

from netvps.cli.server.connect import client
from netvps.cli.session.spec_options import options_named
from netvps.cli.ui.output import emit, format_option, note
from netvps.cli.ui.parse import DURATION, SIZE, Number, pairs


@click.command("run", context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option("--image", default="", metavar="IMAGE", help="Docker image; by default the server's default environment.")
@click.option("--cpus", type=Number("1.5"), default=1.0, show_default=True, metavar="N",
              help="CPUs that it gets, and waits for.")  # fmt: skip
@click.option("--memory", type=SIZE, default=0, help="Memory that it gets, for example 2G; by default no limit.")
@click.option("--gpus", type=int, default=0, metavar="N", help="Number of GPUs, which nothing else gets.")
@click.option("--gpu", "gpu_ids", multiple=True, metavar="UUID", help="This GPU; may be repeated.")
@click.option("--env", "env", multiple=True, metavar="K=V", help="An environment variable; may be repeated.")
@click.option("--on", "runner_filter", default="", metavar="FILTER",
              help="Only on runners that match, for example 'labels.rack=3'.")  # fmt: skip
@click.option("--array", "count", type=int, default=1, metavar="N",
              help="This often, with NETVPS_TASK_INDEX from 0; at most 500.")  # fmt: skip
@click.option("--retries", type=int, default=0, metavar="N",
              help="Start it again this often, if its runner is lost; never otherwise.")  # fmt: skip
@click.option("--timeout", type=DURATION, default=0.0, metavar="TIME", help="End it after this time, for example 2h.")
@click.option("-d", "--detach", is_flag=True, help="Print its id, and do not wait for it.")
@format_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND…")
def run(  # noqa: PLR0917 — its options
    command: tuple[str, ...], count: int, retries: int, timeout: float, detach: bool, form: str, **options: Any
) -> None:
    """Run a command to its end, in a container of its own.

    Its output appears while it runs, and its exit code is that of the command; an array is waited for. Ctrl-C ends
    the wait and not the task. It waits until a runner has room: tasks never get more CPUs and memory than there are.

    \b
    Examples: netvps run --image python:3.12 --cpus 2 -- python -c 'print(6 * 7)'
              netvps run -d --array 100 --timeout 10m -- sh -c 'echo $NETVPS_TASK_INDEX'
    """  # noqa: D301 — Click means the character
    from netvps.domain.session.spec import SessionSpec
    from netvps.domain.task.spec import TaskSpec

    with options_named():
        container = SessionSpec(
            image=options["image"],
            cpus=options["cpus"],
            memory_bytes=options["memory"],
            gpus=options["gpus"],
            gpu_ids=options["gpu_ids"],
            env=pairs(options["env"], "--env"),
            runner_filter=options["runner_filter"],
        )
        job = TaskSpec(command, container, timeout, retries)
        job.require_count(count)
        connection = client()
        made = connection.create_tasks(job, count)
    array = made[0].array
    if form not in {"table", "wide"}:
        from netvps.cli.task.tasks import view

        view().print_one(made[0], form) if count == 1 else view().print_all(made, form)
    elif detach:
        emit(array)
        note(f"next: netvps task wait {array}")
    else:
        from netvps.cli.task.following import attached

        try:
            code = attached(connection, made)
        except KeyboardInterrupt:
            note(f"the task goes on; to end it: netvps task cancel {array}")
            raise
        click.get_current_context().exit(code)
