"""`netvps env pull` and `publish`: an image comes from its registry or from a session, with a bar."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import click

from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import RUNNER, SESSION
from netvps.cli.ui.output import emit
from netvps.cli.ui.progress import progress
from netvps.domain.image.image import ImageProgress, ImageView
from netvps.domain.image.reference import check_reference
from netvps.domain.image.work import ImageLog
from netvps.errors import InvalidInput, NetvpsError, Unavailable
from netvps.exit_codes import Cancelled

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from netvps.cli.ui.progress import Progress
    from netvps.client import Client


@click.command("pull")
@click.argument("image", metavar="IMAGE")
@click.option("--runner", "runners", type=RUNNER, multiple=True, metavar="RUNNER",
              help="Only to this runner; may be repeated.")  # fmt: skip
def pull(image: str, runners: Sequence[str]) -> None:
    """Pull an image to every runner that is online, so that sessions start there at once.

    It comes from its registry; what netvps built (netvps/NAME), or no registry gives, from a runner that has it.
    Ctrl-C ends it; layers that are complete stay for the next time.

    Example: netvps env pull debian:12
    """
    try:
        reference = check_reference(image)
    except InvalidInput as error:
        raise InvalidInput.of("IMAGE", error.violations[0].description) from None
    connection = client()
    names = list(dict.fromkeys(runners)) or runners_online(connection)
    failures: list[NetvpsError] = []
    with progress() as shown:
        for name in names:
            try:
                made = followed(connection.pull_image(name, reference), f"runner {name}", shown)
                shown.print(f"runner {name} has {made.reference}, {made.architecture}")
            except NetvpsError as error:
                failures.append(error)
                if len(names) > 1:
                    shown.print(f"netvps: runner {name}: {error.message}")
    if failures:
        raise failures[0]
    emit(reference)


@click.command("publish")
@click.argument("name", metavar="NAME")
@click.argument("session", type=SESSION, metavar="SESSION")
@click.option("-t", "--tag", default="latest", metavar="TAG", show_default=True, help="Tag of the image.")
def publish(name: str, session: str, tag: str) -> None:
    """Make the environment NAME of a stopped session, on the runner that has it.

    It is the image netvps/NAME:TAG with the session's files, without its environment variables, its machine id, and the
    host keys of its own SSH server. Remove other secrets first: all who may create sessions can read it.

    Example: netvps env publish tools work
    """
    with progress() as shown:
        made = followed(client().publish_image(session, name, tag), f"session {session}", shown)
        shown.print(f"runner {made.runner} has {made.reference}")
    emit(made.reference)


def runners_online(connection: Client) -> list[str]:
    """The runners that can be asked. Raises Unavailable if there is none."""
    views = [view.runner for view in connection.list_runners()]
    names = [runner.name for runner in views if runner.state == "ONLINE" and not runner.no_sessions]
    if not names:
        raise Unavailable("no runner is online: see netvps runner ls")
    return names


def one_runner(connection: Client) -> str:
    """The runner, if there is one alone that can be asked. Raises Unavailable, and InvalidInput if there are more."""
    names = runners_online(connection)
    if len(names) > 1:
        raise InvalidInput.of("--runner", f"there are several runners: name one of {', '.join(names)}")
    return names[0]


def followed(
    steps: Generator[ImageProgress | ImageLog | ImageView, None, None], who: str, shown: Progress
) -> ImageView:  # fmt: skip
    """Shows the progress of work on an image, and prints what its builder says; returns the image.

    Ending it early ends the work.
    """
    rest = ""
    try:
        with closing(steps):
            for step in steps:
                if isinstance(step, ImageView):
                    return step
                if isinstance(step, ImageLog):
                    *lines, rest = (rest + step.text).split("\n")
                    for line in lines:
                        shown.print(line.rstrip())
                else:
                    shown.show(f"{who}: {step.line}")
    except KeyboardInterrupt:
        raise Cancelled(f"interrupted: {who} ends its work, and nothing else changed") from None
    raise Unavailable(f"{who} did not say what became of it: see netvps env ls")
