"""The options of `netvps create` as the spec of a session; what is wrong with it is said with the option's own name."""

from __future__ import annotations

import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from netvps.cli.ui.parse import DURATION, SIZE, Number, pairs
from netvps.errors import InvalidInput, Violation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from netvps.domain.session.spec import RestartPolicy, SessionSpec


class Restart(click.ParamType["tuple[RestartPolicy, int]"]):
    """A restart policy: always, on-failure, on-failure:N, never."""

    name = "POLICY"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[RestartPolicy, int]:
        """Returns the policy, and the limit of restarts; 0 means no limit."""
        from netvps.domain.session.spec import RestartPolicy

        name, colon, limit = str(value).partition(":")
        policies = {policy.lower().replace("_", "-"): policy for policy in RestartPolicy}
        limited = name == "on-failure" and limit.isdecimal() and int(limit) > 0
        if name not in policies or (colon and not limited):
            self.fail(f"{value!r} is not always, on-failure, on-failure:N or never: give for example on-failure:3")
        return policies[name], int(limit or 0)


class IdleTime(click.ParamType[float]):
    """A time without activity, never, or default."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; 0 for never, USUAL for the server's default."""
        if value in {"default", USUAL}:
            return USUAL
        seconds = DURATION.convert(value, param, ctx) if value != "never" else 0.0
        if value != "never" and not seconds:
            self.fail(f"{value!r} is no time without activity: give for example 2h, or never", param, ctx)
        return seconds


USUAL: Final = -1.0
"""An idle time of the server's."""
RESTART: Final = Restart()
IDLE: Final = IdleTime()
WAKE: Final = ("default", "always", "never")
_OPTIONS: Final = (
    click.option("--image", default="", metavar="IMAGE",
                 help="Docker image; by default the server's default environment."),
    click.option("--cpus", type=Number("1.5"), default=0.0, metavar="N",
                 help="Limit of CPUs, for example 1.5; 0 means no limit."),
    click.option("--memory", type=SIZE, default=0, help="Limit of memory, for example 2G; 0 means no limit."),
    click.option("--disk", type=SIZE, default=0,
                 help="Limit of what it writes, for example 20G, where its runner can limit it; 0 means no limit."),
    click.option("--gpus", type=int, default=0, metavar="N", help="Number of GPUs, which no other session gets."),
    click.option("--gpu", "gpu_ids", multiple=True, metavar="UUID",
                 help="This GPU (see `netvps runner show NAME`); may be repeated."),
    click.option("--shm-size", type=SIZE, default=0, help="Size of /dev/shm; by default half of the memory."),
    click.option("--pids", type=int, default=None, metavar="N", help="Limit of processes and threads."),
    click.option("--open-files", type=int, default=0, metavar="N",
                 help="Limit of open files of each process; by default that of the runner's Docker."),
    click.option("--env", "env", multiple=True, metavar="K=V", help="An environment variable; may be repeated."),
    click.option("-l", "--label", "labels", multiple=True, metavar="K=V", help="A label; may be repeated."),
    click.option("--on", "runner_filter", default="", metavar="FILTER",
                 help="Only on runners that match, for example 'labels.rack=3' (see `netvps runner ls`)."),
    click.option("--placement", type=click.Choice(["default", "spread", "pack"]), default="default", show_default=True,
                 help="On the runner with the most room, or the least; by default as the server says."),
    click.option("--network", type=click.Choice(["default", "overlay", "none"]), default="default", show_default=True,
                 help="'default' is the overlay where the runner has one."),
    click.option("--entrypoint", is_flag=True,
                 help="Also run the image's own command, supervised: again after a failure."),
    click.option("--restart", type=RESTART, default="always", show_default=True, metavar="POLICY",
                 help="When its container ends by itself: always, on-failure[:N] or never."),
    click.option("--wake", type=click.Choice(WAKE), default="default", show_default=True,
                 help="Which logins start it once it is stopped; by default those with a terminal."),
    click.option("--idle-pause", type=IDLE, default="default", show_default=True, metavar="TIME",
                 help="Pause it after this time without activity, for example 30m; or never."),
    click.option("--idle-stop", type=IDLE, default="default", show_default=True, metavar="TIME",
                 help="Stop it after this time without activity, for example 2h; or never."),
    click.option("--lifetime", type=DURATION, default=0.0, metavar="TIME",
                 help="Stop it this long after each start, for example 12h."),
    click.option("--awake", default="always", show_default=True, metavar="HOURS",
                 help="Stop it when these hours end (UTC), for example 'mon-fri 08:00-18:00'."),
    click.option("--idle-cpus", type=Number("0.1"), default=0.0, metavar="N",
                 help="Busy CPUs from which on it counts as active; 0.05 by default."),
    click.option("--exclude", "excluded", multiple=True, metavar="PATH",
                 help="Leave what is below this folder out of snapshots; may be repeated."),
    click.option("--snapshot-every", "every", type=DURATION, default=0.0, metavar="TIME",
                 help="Take a snapshot this often while it runs, for example 6h."),
    click.option("--snapshot-daily", "daily_at", default="", metavar="HH:MM",
                 help="Take a snapshot every day at this time (UTC), if it runs."),
    click.option("--snapshot-keep", "keep", type=int, default=0, metavar="N",
                 help="How many of these to keep; 7 by default."),
    click.option("--snapshot-max-age", "max_age", type=DURATION, default=0.0, metavar="TIME",
                 help="Delete these at this age, all but the latest."),
    click.option("--stop-keep", type=int, default=0, metavar="N",
                 help="How many snapshots of stops to keep; 1 by default."),
    click.option("--stop-max-age", type=DURATION, default=0.0, metavar="TIME",
                 help="Delete snapshots of stops, moves and restores at this age."),
    click.option("--copies", type=int, default=0, metavar="N",
                 help="On how many runners each snapshot should be; by default the server's setting."),
    click.option("--protect", is_flag=True, help="Refuse to remove it until `netvps set NAME --no-protect`."),
    click.option("--stop-grace", type=DURATION, default=None, help="Time between SIGTERM and SIGKILL at a stop."),
    click.option("--ssh-key", "key_files", multiple=True, metavar="FILE", type=click.Path(exists=True, dir_okay=False),
                 help="A further public key that may log in; may be repeated."),
)  # fmt: skip
_FIELDS: Final = {
    "address_reservation": "--address-reservation",
    "image": "--image",
    "cpus": "--cpus",
    "memory_bytes": "--memory",
    "disk_bytes": "--disk",
    "gpus": "--gpus",
    "gpu_ids": "--gpu",
    "shm_bytes": "--shm-size",
    "pids": "--pids",
    "open_files": "--open-files",
    "env": "--env",
    "labels": "--label",
    "runner_filter": "--on",
    "placement": "--placement",
    "stop_grace": "--stop-grace",
    "authorized_keys": "--ssh-key",
    "delete_protection": "--protect",
    "restart_policy": "--restart",
    "max_restarts": "--restart",
    "snapshot_keep": "--stop-keep",
    "wake": "--wake",
    "snapshot_max_age": "--stop-max-age",
    "sleep.pause_after": "--idle-pause",
    "sleep.stop_after": "--idle-stop",
    "sleep.lifetime": "--lifetime",
    "sleep.awake_hours": "--awake",
    "sleep.cpu_floor": "--idle-cpus",
    "pause_after": "--idle-pause",
    "stop_after": "--idle-stop",
    "lifetime": "--lifetime",
    "awake_hours": "--awake",
    "cpu_floor": "--idle-cpus",
    "snapshot_policy.copies": "--copies",
    "snapshot_policy.excluded_paths": "--exclude",
    "snapshot_policy.every": "--snapshot-every",
    "snapshot_policy.daily_at": "--snapshot-daily",
    "snapshot_policy.keep": "--snapshot-keep",
    "snapshot_policy.max_age": "--snapshot-max-age",
    "excluded_paths": "--exclude",
    "every": "--snapshot-every",
    "daily_at": "--snapshot-daily",
    "keep": "--snapshot-keep",
    "max_age": "--snapshot-max-age",
    "copies": "--copies",
    "owner": "--owner",
    "session_id": "NAME",
    "command": "COMMAND",
    "count": "--array",
    "timeout": "--timeout",
    "retries": "--retries",
    "name": "NAME",
}
"""Field of the API → what people typed."""
_PATH: Final = re.compile(r"(?:requests\[\d+\]\.)?(?:session\.)?(?:spec\.)?([a-z_.]+)(?:\[(.*)\])?")


def spec_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Gives a command the options of a spec; it passes their values to `spec_of`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def spec_of(options: Mapping[str, Any]) -> SessionSpec:
    """The spec of the options; the rules are the spec's own. Raises InvalidInput with all violations."""
    from netvps.domain.session.spec import Network, Placement, SessionSpec
    from netvps.domain.sleep.policy import SleepPolicy, WakePolicy
    from netvps.domain.snapshot.policy import SnapshotPolicy

    given = {name: options[name] for name in ("pids", "stop_grace") if options[name] is not None}
    with options_named():
        return SessionSpec(
            image=options["image"],
            cpus=options["cpus"],
            memory_bytes=options["memory"],
            disk_bytes=options["disk"],
            gpus=options["gpus"],
            gpu_ids=options["gpu_ids"],
            shm_bytes=options["shm_size"],
            open_files=options["open_files"],
            env=pairs(options["env"], "--env"),
            labels=pairs(options["labels"], "--label"),
            runner_filter=options["runner_filter"],
            placement=Placement(options["placement"].upper()),
            network=Network(options["network"].upper()),
            run_entrypoint=options["entrypoint"],
            authorized_keys=tuple(_key(file) for file in options["key_files"]),
            delete_protection=options["protect"],
            restart_policy=options["restart"][0],
            max_restarts=options["restart"][1],
            wake=WakePolicy(options["wake"].upper()),
            sleep=SleepPolicy(
                idle_time(options["idle_pause"]),
                idle_time(options["idle_stop"]),
                options["lifetime"],
                awake_hours(options["awake"]),
                options["idle_cpus"],
            ),
            snapshot_keep=options["stop_keep"],
            snapshot_max_age=options["stop_max_age"],
            snapshot_policy=SnapshotPolicy(
                options["excluded"],
                options["every"],
                options["daily_at"],
                options["keep"],
                options["max_age"],
                options["copies"],
            ),
            **given,
        )


def idle_time(value: float) -> float | None:
    """An idle time as the policy has it: None is the server's default."""
    return None if value == USUAL else value


def awake_hours(text: str) -> str:
    """Awake hours as the policy has them: '' for always."""
    return "" if text == "always" else text


@contextmanager
def options_named() -> Iterator[None]:
    """Names the option in place of the API's field, in what is raised in the block."""
    try:
        yield
    except InvalidInput as error:
        violations = [Violation(_option(one.field), one.description) for one in error.violations]
        raise InvalidInput(*violations, reason=error.reason) from None


def _option(field: str) -> str:
    match = _PATH.fullmatch(field)
    if match is None or match[1] not in _FIELDS:
        return field
    return f"{_FIELDS[match[1]]} {match[2]}" if match[2] else _FIELDS[match[1]]


def _key(file: str) -> str:
    from netvps.domain.access.ssh_key import PublicKey

    try:
        return PublicKey.parse(Path(file).read_text(encoding="utf-8"), f"--ssh-key {file}").text
    except (OSError, UnicodeDecodeError):
        raise click.BadParameter(
            f"{file} cannot be read as text: give a public key, for example ~/.ssh/id_ed25519.pub",
            param_hint="--ssh-key",
        ) from None
