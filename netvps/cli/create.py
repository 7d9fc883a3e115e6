"""`netvps create`: a new session, from a name (or none) to the line to type next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netvps.cli.connect import client
from netvps.cli.output import emit, format_option, note
from netvps.cli.parse import DURATION, SIZE, pairs
from netvps.cli.sessions import called, view

if TYPE_CHECKING:
    from netvps.domain.session import Session, SessionSpec


@click.command("create")
@click.argument("name", default="")
@click.option("--image", default="", help="Docker image; by default the server's default environment.")
@click.option("--cpus", type=float, default=0.0, metavar="N", help="Limit of CPUs, for example 1.5.")
@click.option("--memory", type=SIZE, default=0, help="Limit of memory, for example 2G.")
@click.option("--shm-size", type=SIZE, default=0, help="Size of /dev/shm; by default half of the memory.")
@click.option("--pids", type=int, default=None, metavar="N", help="Limit of processes and threads.")
@click.option("--env", "env", multiple=True, metavar="K=V", help="An environment variable; may be repeated.")
@click.option("--label", "labels", multiple=True, metavar="K=V", help="A label; may be repeated.")
@click.option("--network", type=click.Choice(["default", "overlay", "none"]), default="default", show_default=True,
              help="'default' is the overlay where the runner has one.")  # fmt: skip
@click.option("--entrypoint", is_flag=True, help="Also run the image's own command, supervised: again after a failure.")
@click.option("--stop-grace", type=DURATION, default=None, help="Time between SIGTERM and SIGKILL at a stop.")
@click.option("--ssh-key", "key_files", multiple=True, metavar="FILE", type=click.Path(exists=True, dir_okay=False),
              help="A further public key that may log in; may be repeated.")  # fmt: skip
@click.option("--owner", default="", metavar="USER", help="Make it for somebody else (admins only).")
@click.option("--dry-run", is_flag=True, help="Check everything, and make nothing.")
@click.option("--wait/--no-wait", default=True, help="Wait until it runs (the default).")
@click.option("--timeout", type=DURATION, default=600.0, show_default="10m", help="How long to wait.")
@format_option
def create(*, name: str, owner: str, dry_run: bool, wait: bool, timeout: float, form: str, **options: Any) -> None:
    """Make a session (a VPS) and wait until it runs.

    Without NAME the server picks one. Your SSH key is registered, if you have none there yet.

    Example: netvps create dev1 --memory 2G --cpus 1.5
    """
    spec = _spec(options)
    connection = client()
    if dry_run:
        _print(connection.create_session(name, spec, owner=owner, validate_only=True), form, own=not owner)
        return
    if not owner:
        from netvps.cli.local_keys import any_registered, register

        if not any_registered(connection):
            # Asked before anything is changed: a refused create leaves no key behind.
            connection.create_session(name, spec, validate_only=True)
            register(connection)
    session = connection.create_session(name, spec, owner=owner)
    if wait:
        from netvps.cli.waiting import require, until_settled

        (session,) = until_settled(connection, [session], timeout)
        require(session, called(session, own=not owner))
    _print(session, form, own=not owner)
    done = f"runs on {session.runner_name}" if wait else "is being made; `netvps watch` shows how"
    note(f"session {called(session, own=not owner)} {done}")
    note(f"next: netvps ssh {called(session, own=not owner)}")


def _spec(options: dict[str, Any]) -> SessionSpec:
    """The spec of the options; the rules are the spec's own. Raises InvalidInput with all violations."""
    from netvps.domain.session import Network, SessionSpec

    given: dict[str, Any] = {}
    if options["pids"] is not None:
        given["pids"] = options["pids"]
    if options["stop_grace"] is not None:
        given["stop_grace"] = options["stop_grace"]
    return SessionSpec(
        image=options["image"],
        cpus=options["cpus"],
        memory_bytes=options["memory"],
        shm_bytes=options["shm_size"],
        env=pairs(options["env"], "--env"),
        labels=pairs(options["labels"], "--label"),
        network=Network(options["network"].upper()),
        run_entrypoint=options["entrypoint"],
        authorized_keys=tuple(_key(file) for file in options["key_files"]),
        **given,
    )


def _key(file: str) -> str:
    from netvps.domain.ssh_key import PublicKey

    try:
        return PublicKey.parse(Path(file).read_text(encoding="utf-8"), f"--ssh-key {file}").text
    except (OSError, UnicodeDecodeError):
        raise click.BadParameter(f"{file} cannot be read as text", param_hint="--ssh-key") from None


def _print(session: Session, form: str, *, own: bool) -> None:
    if form in {"table", "wide"}:
        emit(called(session, own=own))
    else:
        view(own=own).print_one(session, form)
