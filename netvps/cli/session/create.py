"""`netvps create`: a new session, from a name (or none) to the line to type next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from netvps.cli.access import config_ssh
from netvps.cli.server import connect
from netvps.cli.server.connect import client
from netvps.cli.session.sessions import called, to_json, view
from netvps.cli.session.spec_options import options_named, spec_of, spec_options
from netvps.cli.ui.arguments import SESSION, USER
from netvps.cli.ui.output import View, emit, format_option, note
from netvps.cli.ui.parse import DURATION
from netvps.display.units import gpu_words, size_words
from netvps.errors import NotFound

if TYPE_CHECKING:
    from netvps.client import Client, SessionPlan
    from netvps.domain.session.session import Session

_NAMED: Final = 10
"""Runners that a dry run names with what speaks against them."""


@click.command("create")
@click.argument("names", nargs=-1, type=SESSION, metavar="[NAME...]")
@spec_options
@click.option("--owner", type=USER, default="", metavar="USER", help="Make it for another user (admins only).")
@click.option("--address-reservation", default="", metavar="TOKEN",
              help="Give it this reserved address, on its runner (from `netvps network reserve RUNNER`).")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Check everything, say what would be made and where, and make nothing.")
@click.option("--ssh", "log_in", is_flag=True, help="Log in as soon as it runs.")
@click.option("--wait/--no-wait", default=True, help="Wait until it runs (the default).")
@click.option("--timeout", type=DURATION, default="10m", show_default=True, help="How long to wait.")
@config_ssh.option
@format_option
@click.pass_context
def create(
    ctx: click.Context,
    /,
    *,
    names: tuple[str, ...],
    owner: str,
    address_reservation: str,
    dry_run: bool,
    log_in: bool,
    wait: bool,
    timeout: float,
    form: str,
    config: bool,
    **options: Any,
) -> None:
    """Make a session (a VPS) and wait until it runs.

    Without NAME the server picks one. Of several, up to 100, all are made or none. A key of yours is registered, if
    the server knows none of this machine, and plain ssh is set up (`netvps config-ssh`).

    \b
    Examples: netvps create dev1 --memory 2G --cpus 1.5
              netvps create --ssh
              netvps create job-{1..8} --cpus 1
    """  # noqa: D301 — Click means the character
    if log_in and (dry_run or not wait):
        raise click.UsageError("--ssh excludes --dry-run and --no-wait: it logs in once the session runs")
    for_one = {"--ssh": log_in, "--dry-run": dry_run, "--address-reservation": address_reservation}
    if len(names) > 1 and any(for_one.values()):
        option = next(option for option, given in for_one.items() if given)
        raise click.UsageError(f"{option} is for one session: give one NAME")
    spec, connection = spec_of(options), client()
    if len(names) > 1:
        from netvps.cli.scheduling.batch import create_batch, print_batch

        made = create_batch(connection, [_names(name, owner) for name in names], spec)
        if not owner:
            config_ssh.set_up(connection, connect.context(), *(one.name for one in made), config=config)
        print_batch(connection, made, form, own=not owner, timeout=timeout if wait else None)
        return
    name, owner = _names(names[0] if names else "", owner)
    with options_named():
        if dry_run:
            _print_plan(
                connection.plan_session(name, spec, owner=owner, address_reservation=address_reservation),
                form,
                own=not owner,
            )
            return
        session = connection.create_session(name, spec, owner=owner, address_reservation=address_reservation)
    if not owner:  # only now: a refused create leaves no key behind
        config_ssh.set_up(connection, connect.context(), session.name, config=config)
    known = called(session, own=not owner)
    if wait:
        session = _wait(connection, session, known, timeout)
    _print(session, form, own=not owner)
    note(
        f"session {known} " + (f"runs on {session.runner_name}" if wait else "is being made; `netvps watch` shows how")
    )
    if log_in:
        from netvps.cli.access.ssh import ssh

        ctx.invoke(ssh, words=(known,), timeout=timeout)
    note(f"next: netvps ssh {known}")


def _names(name: str, owner: str) -> tuple[str, str]:
    """NAME and USER, of which NAME.USER may be typed as one. Raises a usage error if USER is given twice."""
    short, dot, full_owner = name.partition(".")
    if dot and owner and owner != full_owner:
        raise click.UsageError(f"NAME says owner {full_owner}, and --owner says {owner}: give one of them")
    return short, full_owner or owner


def _wait(connection: Client, session: Session, known: str, timeout: float) -> Session:
    """The session once it runs. Raises what it failed with."""
    from netvps.cli.ui.waiting import require, until_settled

    (settled,) = until_settled(connection, [session], timeout)
    try:
        require(settled, known)
    except NotFound as error:
        raise NotFound(f"{error.message}{_images_like(connection, settled)}") from None
    return settled


def _images_like(connection: Client, session: Session) -> str:
    """A hint with the nearest images that sessions of this server are made from."""
    from netvps.cli.ui.usage import did_you_mean

    images = {other.spec.image for other in connection.list_sessions("") if other.uid != session.uid}
    return did_you_mean(
        session.spec.image, sorted({*images, connection.server_info().default_image} - {"", session.spec.image})
    )


def _print_plan(plan: SessionPlan, form: str, *, own: bool) -> None:
    """What would be made, and where, in words; or the session as it would be."""
    session, spec = plan.session, plan.session.spec
    if form not in {"table", "wide"}:
        View[Any](name=lambda _: called(session, own=own), columns=(), json=to_json).print_one(plan, form)
        return
    limits = [f"{spec.cpus:g} CPUs"] if spec.cpus else []
    limits += [f"{size_words(spec.memory_bytes)} of memory"] if spec.memory_bytes else []
    limits += [f"{size_words(spec.disk_bytes)} of disk"] if spec.disk_bytes else []
    limits += [gpu_words(spec.gpu_count)] if spec.gpu_count else []
    where = f"on runner {session.runner_name}" if session.runner_name else f"once a runner takes it: {session.message}"
    what = f"session {called(session, own=own)} from {spec.image} ({', '.join(limits) or 'no limits'})"
    emit(f"would create {what} {where}")
    against = [one for one in plan.verdicts if one.reason]
    for verdict in against[:_NAMED]:
        note(f"not on {verdict.runner}: {verdict.reason}")
    if len(against) > _NAMED:
        note(f"nor on {len(against) - _NAMED} more: -o json names all")
    note("dry run: nothing was created")


def _print(session: Session, form: str, *, own: bool) -> None:
    if form in {"table", "wide"}:
        emit(called(session, own=own))
    else:
        view(own=own).print_one(session, form)
