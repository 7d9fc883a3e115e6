"""`netvps env`: lists, removes and chooses environments, the images that sessions are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from netvps.cli.env.pull import publish, pull
from netvps.cli.machine.programs import bootstrap, build
from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import RUNNER
from netvps.cli.ui.output import Column, View, emit, format_option, note
from netvps.display.units import age, size_words
from netvps.domain.image.reference import check_reference, environment_of, same_reference
from netvps.errors import InvalidInput, NetvpsError, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netvps.client import Client, ImageView

_DIGEST = 12


@click.group("env")
def env() -> None:
    """Environments: the images that sessions are made from."""


env.add_command(bootstrap)
env.add_command(build)
env.add_command(pull)
env.add_command(publish)


@env.command("ls")
@click.option("--runner", type=RUNNER, default="", metavar="RUNNER", help="Only those of this runner.")
@format_option
def ls(runner: str, form: str) -> None:
    """List the images on each runner, how many sessions were made from them, and which is the default.

    Example: netvps env ls
    """
    silent: list[str] = []
    found = list(client().list_images(runner, unreachable=silent.append))
    if not found and not silent and form in {"table", "wide"}:
        note("no runner has an image; `netvps env pull IMAGE` gets one, `netvps env bootstrap NAME` makes one")
    _view().print_all(found, form)
    _note_silent(silent)


@env.command("rm")
@click.argument("image", metavar="IMAGE")
@click.option("--runner", type=RUNNER, default="", metavar="RUNNER", help="Only from this runner.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rm(image: str, runner: str, yes: bool) -> None:
    """Remove an image from all runners, or from one.

    Not the default, and not where a session was made from it. IMAGE is a reference, or the NAME of an environment.

    Example: netvps env rm debian:11 --runner box2
    """
    connection = client()
    silent: list[str] = []
    found = _named(connection.list_images(runner, unreachable=silent.append), image)
    if not found:
        _note_silent(silent)
        raise NotFound(f"no runner has an image {image}: see netvps env ls")
    reference = found[0].reference
    where = ", ".join(view.runner for view in found)
    if not yes:
        from netvps.cli.session.lifecycle import confirm

        confirm([reference], "image", f"removes that image from {where}")
    failures = [failure for view in found if (failure := _removed(connection, view)) is not None]
    _note_silent(silent)
    for failure in failures[1:]:
        note(f"netvps: {failure.message}")
    if failures:
        raise failures[0]
    emit(reference)


@env.command("default")
@click.argument("image", default="", metavar="[IMAGE]")
@click.option("--reset", is_flag=True, help="Go back to the server's setting (--default-image).")
@format_option
def default(image: str, reset: bool, form: str) -> None:
    """Print the image of sessions that name none, or choose it for those that are made from now on.

    IMAGE is a reference, or the NAME of an environment.

    Example: netvps env default debian
    """
    if image and reset:
        raise click.UsageError("--reset excludes IMAGE: give one of the two")
    connection = client()
    if not image and not reset:
        chosen = connection.get_default_image()
    else:
        chosen = connection.update_default_image(_chosen(connection, image) if image else "")
    if form in {"table", "wide", "name"}:
        emit(chosen.reference)
        return
    _printed(chosen, form)


def _chosen(connection: Client, image: str) -> str:
    """The reference of an image that a runner has, else the one that is given. Raises InvalidInput."""
    found = _named(connection.list_images(), image)
    if found:
        return found[0].reference
    try:
        reference = check_reference(image)
    except InvalidInput as error:
        raise InvalidInput.of("IMAGE", error.violations[0].description) from None
    note(f"no runner has {reference} yet: each pulls it for its first session; `netvps env pull {reference}` does now")
    return reference


def _named(images: Iterable[ImageView], text: str) -> list[ImageView]:
    """The images that a person means: by reference, else by the NAME of an environment."""
    found = list(images)
    exact = [view for view in found if same_reference(view.reference, text)]
    return exact or [view for view in found if environment_of(view.reference) == text]


def _removed(connection: Client, view: ImageView) -> NetvpsError | None:
    """Removes an image; returns what went wrong, so that other runners are asked all the same."""
    try:
        connection.delete_image(view.runner, view.reference, allow_missing=True)
    except NetvpsError as error:
        return error
    return None


def _note_silent(names: list[str]) -> None:
    for name in names:
        note(f"netvps: runner {name} could not be asked: see netvps runner show {name}")


def _printed(thing: Any, form: str) -> None:
    from netvps.rpc.jsonform import to_json

    shown: View[Any] = View(name=str, columns=(), json=to_json)
    shown.print_one(thing, form)


def _view() -> View[ImageView]:
    def json(view: ImageView) -> dict[str, Any]:
        from netvps.rpc.jsonform import to_json

        return to_json(view)

    return View(
        name=lambda view: view.reference,
        columns=(
            Column("IMAGE", lambda view: view.reference),
            Column("RUNNER", lambda view: view.runner),
            Column("SIZE", lambda view: size_words(view.size_bytes)),
            Column("ARCH", lambda view: view.architecture),
            Column("AGE", lambda view: age(view.create_time)),
            Column("SESSIONS", lambda view: str(view.session_count)),
            Column("DEFAULT", lambda view: "default" if view.is_default else ""),
            Column("DIGEST", lambda view: view.digest.removeprefix("sha256:")[:_DIGEST], wide=True),
        ),
        json=json,
    )
