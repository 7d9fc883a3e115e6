"""`netvps runner`: the program itself, or a look at the runners of the server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netvps.cli.machine.drain import cordon, drain, uncordon
from netvps.cli.machine.overlay_words import gateway, overlay, problems, short, underlay
from netvps.cli.machine.programs import runner_run, sweep
from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import RUNNER
from netvps.cli.ui.output import Column, View, emit, format_option, note, write_secret
from netvps.cli.ui.parse import pairs
from netvps.display.units import age, moment_words, size_words

if TYPE_CHECKING:
    from netvps.domain.runner.runner import RunnerView


class _RunOrGroup(click.Group):
    """Words that begin with no command of the group are for the program."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for_program = not args or (args[0].startswith("-") and args[0] not in {"-h", "--help"})
        return super().parse_args(ctx, ["run", *args] if for_program else args)


@click.group("runner", cls=_RunOrGroup)
def runner() -> None:
    """Run a runner on this machine, or look at all of them.

    \b
    Without a command: netvps runner --server HOST:7443 --join-token-file FILE
    (all flags: netvps runner run --help)
    """  # noqa: D301 — Click means the character


runner.add_command(runner_run)
runner.add_command(sweep)
runner.add_command(drain)
runner.add_command(cordon)
runner.add_command(uncordon)


@runner.command("ls")
@click.option("--filter", "matching", default="", metavar="FILTER", help="Those that match, as of `netvps ls`.")
@click.option("--sort", default="", metavar="FIELDS", help="In this order, for example 'state, age desc'.")
@format_option
def ls(matching: str, sort: str, form: str) -> None:
    """List runners.

    A filter and an order may name name, state, cordoned, architecture, version and create_time (age); a filter also
    labels.KEY.

    Example: netvps runner ls --filter 'state=online cordoned=false labels.rack:*'
    """
    from netvps.cli.session.filters import order_by

    found = list(client().list_runners(matching, order_by(sort)))
    if not found and form in {"table", "wide"}:
        note("no runners like that" if matching else "no runner yet; `netvps runner join-token` lets a machine join")
    _view().print_all(found, form)


@runner.command("show")
@click.argument("name", type=RUNNER)
@format_option
def show(name: str, form: str) -> None:
    """Tell all about a runner."""
    _view(whole=True).print_one(client().get_runner(name), form)


@runner.command("label")
@click.argument("name", type=RUNNER)
@click.argument("changes", nargs=-1, required=True, metavar="KEY=VALUE|KEY-...")
@format_option
def label(name: str, changes: tuple[str, ...], form: str) -> None:
    """Set labels of a runner with KEY=VALUE, and remove them with KEY-.

    Labels choose runners: in `netvps runner ls --filter labels.rack=3`, and for sessions.

    Example: netvps runner label box1 rack=3 ssd=yes old-
    """
    remove = [word[:-1] for word in changes if word.endswith("-") and "=" not in word]
    if wrong := [word for word in changes if "=" not in word and not word.endswith("-")]:
        raise click.BadParameter(f"{wrong[0]!r} is not KEY=VALUE or KEY-: give for example rack=3", param_hint="KEY")
    view = client().label_runner(name, pairs([word for word in changes if "=" in word], "KEY=VALUE"), remove)
    if form not in {"table", "wide"}:
        _view().print_one(view, form)
        return
    emit(name)
    note(
        f"runner {name} has labels {', '.join(view.runner.labels)}"
        if view.runner.labels
        else f"runner {name} has no labels now"
    )


@runner.command("rm")
@click.argument("name", type=RUNNER)
@click.option("--force", is_flag=True, help="Remove the sessions that are placed on it, too, without a way back.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def rm(name: str, force: bool, yes: bool) -> None:
    """Remove a runner whose machine is gone or retired; its subnet is free then.

    Not while it has sessions: their files are on that machine alone. With --force they are removed from netvps, and
    what the machine still holds of them stays there.
    """
    if not yes:
        from netvps.cli.session.lifecycle import confirm

        confirm(
            [name], "runner", "removes that runner" + (" and all its sessions, without a way back" if force else "")
        )
    client().delete_runner(name, force=force)
    emit(name)


@runner.command("join-token")
@click.option("--file", "target", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Write it into FILE (mode 0600) instead of printing it.")  # fmt: skip
@format_option
def join_token(form: str, target: Path | None) -> None:
    """Make a token that lets one machine join, once, within the hour.

    Example: netvps runner join-token --file token
    """
    token, expires = client().create_join_token()
    if target is not None:
        write_secret(target, token)
        note(f"{target} has a token for one machine, until {moment_words(expires)}")
        return
    if form not in {"table", "wide"}:
        shown: View[str] = View(
            name=str, columns=(), json=lambda word: {"joinToken": word, "expireTime": expires.isoformat()}
        )
        shown.print_one(token, form)
        return
    emit(token)
    note(f"good for one machine until {moment_words(expires)}; there, with the token in a file that only you can read:")
    note("  netvps runner --server THIS_HOST:7443 --join-token-file FILE")


def _view(*, whole: bool = False) -> View[RunnerView]:
    """How runners are printed; `whole` says all in words, where there is room for it."""
    from netvps.cli.session.sessions import to_json

    def memory(view: RunnerView) -> str:
        return size_words(view.runner.capacity.memory_bytes)

    def seen(view: RunnerView) -> str:
        """The server records when it last heard of a runner only once it does not any more."""
        return "now" if view.runner.state == "ONLINE" else f"{age(view.runner.last_seen)} ago"

    def state(view: RunnerView) -> str:
        return f"{view.runner.state}, cordoned" if view.runner.cordoned else view.runner.state

    def engine(view: RunnerView) -> str:
        if view.runner.no_sessions:
            return "none: no sessions here"
        problem = view.runner.engine_problem
        return f"down: {short(problem)}" if problem else view.runner.capacity.engine_version or "unknown"

    def disk_limits(view: RunnerView) -> str:
        capacity = view.runner.capacity
        why = f": {capacity.disk_limits_problem}" if whole and capacity.disk_limits_problem else ""
        return "yes" if capacity.disk_limits else f"no{why}"

    def gpus(view: RunnerView) -> str:
        capacity = view.runner.capacity
        if not whole:
            count = len(capacity.gpus)
            free = count - len(view.gpus_in_use & {gpu.id for gpu in capacity.gpus})
            return f"{free} of {count} free" if count else ""
        known = [
            f"{gpu.id} ({gpu.name}, {size_words(gpu.memory_bytes)}, {_use(gpu.id, view)})" for gpu in capacity.gpus
        ]
        gone = [f"{gpu} (in use, and gone)" for gpu in sorted(view.gpus_in_use - {gpu.id for gpu in capacity.gpus})]
        return ", ".join([*known, *gone, *([capacity.gpu_problem] if capacity.gpu_problem else [])]) or "none"

    def json(view: Any) -> dict[str, Any]:
        return to_json(view)

    return View(
        name=lambda view: view.runner.name,
        columns=(
            Column("NAME", lambda view: view.runner.name),
            Column("STATE", state),
            Column("SESSIONS", lambda view: str(view.session_count)),
            Column("CPUS", lambda view: str(view.runner.capacity.cpus)),
            Column("MEMORY", memory),
            Column("DISK FREE", lambda view: size_words(view.runner.capacity.disk_free_bytes)),
            Column("SEEN", seen),
            Column("ENGINE", engine),
            Column("OVERLAY", overlay),
            Column("DISK LIMITS", disk_limits, wide=True),
            Column("GPUS", gpus, wide=True),
            Column("SUBNET", lambda view: view.lease.cidr, wide=True),
            Column("UNDERLAY", underlay, wide=True),
            Column("GATEWAY", gateway, wide=True),
            Column("PROBLEMS", problems, wide=True),
            Column("ARCHITECTURE", lambda view: view.runner.capacity.architecture, wide=True),
            Column("LABELS", lambda view: ",".join(view.runner.labels), wide=True),
            Column("VERSION", lambda view: view.runner.version, wide=True),
            Column("UID", lambda view: view.runner.uid, wide=True),
        ),
        json=json,
    )


def _use(gpu: str, view: RunnerView) -> str:
    return "in use" if gpu in view.gpus_in_use else "free"
