"""The commands that are programs of their own, with all their flags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from netvps.cli.machine.program_command import ProgramCommand, replace_by

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def _folder(option: str, text: str) -> click.Option:
    return click.Option([option], type=click.Path(file_okay=False), metavar="DIR", help=text)


def _config(whose: str) -> click.Option:
    return click.Option(
        ["--config"], type=click.Path(path_type=Path), metavar="FILE", help=f"{whose} TOML file (NETVPS_CONFIG)."
    )


def _docker_host() -> click.Option:
    return click.Option(["--docker-host"], metavar="HOST", help="Docker's socket; by default DOCKER_HOST or its own.")


def _on_the_server() -> list[click.Parameter]:
    return [_folder("--state-dir", "The server's state folder (NETVPS_STATE_DIR)."), _config("The server's")]


def _with_context(program: str) -> Callable[[Sequence[str]], None]:
    """Starts a program that talks to the server of the context in force."""

    def start(arguments: Sequence[str]) -> None:
        chosen = click.get_current_context().find_root().obj
        replace_by(program, [*(("--context", chosen) if chosen else ()), *arguments])

    return start


server: Final = ProgramCommand(
    "server",
    module="server",
    settings=("ServerSettings",),
    summary="Run a control plane with its gateway, in the foreground.\n\nExample: netvps server --listen 0.0.0.0",
)
runner_run: Final = ProgramCommand(
    "run",
    module="runner",
    path="runner",
    settings=("RunnerSettings",),
    summary="""Run a runner on this machine, in the foreground: the containers of sessions.

    Example: netvps runner run --server HOST:7443 --join-token-file FILE
    """,
)
backup: Final = ProgramCommand(
    "backup",
    module="backup",
    params=[
        click.Argument(["file"], type=click.Path(dir_okay=False, path_type=Path), metavar="FILE"),
        *_on_the_server(),
    ],
    summary="""Copy the server's database and CA into one file, while the server runs.

    FILE must not exist yet. It holds the keys of the CA: keep it secret.

    Example: netvps backup netvps.backup
    """,
)
restore: Final = ProgramCommand(
    "restore",
    module="restore",
    params=[
        click.Argument(["file"], type=click.Path(dir_okay=False, path_type=Path), metavar="FILE"),
        click.Option(["-y", "--yes"], is_flag=True, help="Replace those that exist; they are moved aside."),
        *_on_the_server(),
    ],
    summary="""Put a backup in the place of the server's database and CA. The server must be down.

    Example: netvps restore netvps.backup --yes
    """,
)  # fmt: skip
bootstrap: Final = ProgramCommand(
    "bootstrap",
    module="bootstrap",
    path="env bootstrap",
    start=_with_context("bootstrap"),
    params=[
        click.Argument(["name"], metavar="NAME"),
        click.Option(["--suite"], default="", metavar="SUITE", help="Debian release (by default this machine's own)."),
        click.Option(["--or-pull"], metavar="IMAGE",
                     help="Do nothing if the environment exists; else take IMAGE from its registry, if that answers."),
        click.Option(["--mirror"], default="", metavar="URL", help="Package mirror (by default this machine's own)."),
        click.Option(["--runner"], default="", metavar="RUNNER", help="Make it on this runner, through the server."),
        click.Option(["--context"], metavar="NAME", help="The server of --runner (see `netvps context`)."),
        _docker_host(),
    ],
    summary="""Make a Debian environment from a package mirror, without any registry.

    It is the image netvps/NAME:latest; sessions use 'debian' by default. Without --runner it is made by Docker on this
    machine, and needs no server.

    Example: netvps env bootstrap debian
    """,
)  # fmt: skip
build: Final = ProgramCommand(
    "build",
    module="build",
    path="env build",
    start=_with_context("build"),
    params=[
        click.Argument(["name"], metavar="NAME"),
        click.Argument(["folder"], metavar="DIR", type=click.Path(exists=True, file_okay=False)),
        click.Option(["-f", "--file"], default="Dockerfile", metavar="PATH", show_default=True,
                     help="The Dockerfile, by its path in DIR."),
        click.Option(["-t", "--tag"], default="latest", metavar="TAG", show_default=True, help="Tag of the image."),
        click.Option(["--runner"], default="", metavar="RUNNER",
                     help="The runner that builds; needed if there are several."),
        click.Option(["--context"], metavar="NAME", help="The server (see `netvps context`)."),
    ],
    summary="""Build the environment NAME on a runner, from a folder with a Dockerfile.

    It is the image netvps/NAME:TAG there. The folder is sent without what its .dockerignore leaves out, up to 2 GiB.
    What the builder says goes to stderr. Ctrl-C ends the build.

    Example: netvps env build tools ./tools
    """,
)  # fmt: skip
purge: Final = ProgramCommand(
    "purge",
    module="purge",
    path="network purge",
    params=[
        click.Option(["--force"], is_flag=True, help="Also while containers run on it: they lose their network."),
        _docker_host(),
        _config("The runner's"),
    ],
    summary="""Remove all of the overlay from this machine: links, routes, packet filter, Docker's network.

    Not while containers run on it, or a runner runs.
    """,
)

sim: Final = ProgramCommand(
    "sim",
    module="sim",
    params=[
        click.Option(["--runners"], type=click.IntRange(1, 5000), default=100, show_default=True, metavar="N",
                     help="How many runners."),
        click.Option(["--sessions"], type=click.IntRange(0, 1_000_000), default=1000, show_default=True, metavar="N",
                     help="How many sessions to begin with."),
        click.Option(["--seed"], type=int, default=1, show_default=True, metavar="N",
                     help="Decides how long each start and stop takes."),
        click.Option(["--speed"], type=click.FloatRange(0.1, 100), default=1.0, show_default=True, metavar="X",
                     help="How many times faster starts and stops are."),
        click.Option(["--fault"], multiple=True,
                     type=click.Choice(["slow-stop", "lost-runner", "duplicate", "disk-full"]),
                     help="What goes wrong now and then; repeat it for several."),
        click.Option(["--once"], is_flag=True, help="End after the figures."),
    ],
    summary="""Run a server with simulated runners, to try a scheduler on.

    The server, its database and the streams of the runners are real; sessions are names: nothing runs in them, and they
    take no snapshots. All is in a temporary folder, and gone at the end. It prints how long the start took, and what
    the server uses.

    Faults: slow-stop (ten times as long), lost-runner (away for 20 to 60 s, each minute or two), duplicate (each report
    comes twice), disk-full (one start in twenty fails).

    Example: netvps sim --runners 500 --sessions 10000 --fault lost-runner
    """,
)  # fmt: skip
uninstall: Final = ProgramCommand(
    "uninstall",
    module="uninstall",
    params=[
        click.Option(["--dry-run"], is_flag=True, help="Only list what would be removed."),
        click.Option(
            ["--sessions"], is_flag=True, help="Also containers, volumes and snapshots of sessions: all files."
        ),
        click.Option(["--state"], is_flag=True, help="Also the state folder: database, CA, keys, copies of snapshots."),
        _folder("--state-dir", "The state folder (NETVPS_STATE_DIR)."),
        _folder("--runtime-dir", "The folder for sockets (NETVPS_RUNTIME_DIR)."),
        _docker_host(),
        _config("The runner's"),
    ],
    summary="""Remove what netvps made on this machine, and print it.

    That is units of systemd, what `netvps up` started, networks of sessions, the overlay with its packet filter, and
    environments. It refuses while there are sessions, unless --sessions is given. Programs and packages stay.

    Example: netvps uninstall --dry-run
    """,
)


def _sweep(arguments: Sequence[str]) -> None:
    chosen = click.get_current_context().find_root().obj
    replace_by("sweep", [*(("--context", chosen) if chosen else ()), *arguments])


sweep: Final = ProgramCommand(
    "sweep",
    module="sweep",
    path="runner sweep",
    start=_sweep,
    params=[
        click.Option(["--dry-run"], is_flag=True, help="Only list what no assignment of this runner knows."),
        click.Option(["--context"], metavar="NAME", help="The server to ask (see `netvps context`)."),
        _folder("--state-dir", "The runner's state folder (NETVPS_STATE_DIR)."),
        _folder("--runtime-dir", "The runner's folder for sockets (NETVPS_RUNTIME_DIR)."),
        _docker_host(),
        _config("The runner's"),
    ],
    summary="""Remove what this machine's runner left of sessions that the server does not know.

    That is containers, snapshots, volumes and folders. Needs a context with an admin's key, except with --dry-run.
    """,
)


def _web(arguments: Sequence[str]) -> None:
    chosen = click.get_current_context().find_root().obj
    replace_by("web", [*(("--context", chosen) if chosen else ()), *arguments])


web: Final = ProgramCommand(
    "web",
    module="web",
    start=_web,
    params=[
        click.Option(["--open", "open_link"], is_flag=True, help="Print a link that logs in once, within two minutes."),
        click.Option(
            ["--listen"],
            default="127.0.0.1:7490",
            metavar="HOST:PORT",
            show_default=True,
            help="IP address and port; others than loopback need TLS.",
        ),
        click.Option(
            ["--public-url"],
            default="",
            metavar="URL",
            help="How browsers reach it through a proxy or by a name: https://HOST[:PORT][/PATH].",
        ),
        click.Option(
            ["--tls-cert"],
            type=click.Path(dir_okay=False),
            metavar="FILE",
            help="Certificate chain (PEM); read again when it changes.",
        ),
        click.Option(["--tls-key"], type=click.Path(dir_okay=False), metavar="FILE", help="Its private key (PEM)."),
        click.Option(
            ["--trusted-proxy"],
            multiple=True,
            metavar="IP",
            help="Address of a proxy whose X-Forwarded-For counts; repeatable.",
        ),
        click.Option(["--context"], metavar="NAME", help="The server to show (see `netvps context`)."),
    ],
    summary="""Show the terminal UI in browsers, in the foreground.

    People log in with their API keys; --open prints a link for you. It uses the context in force.

    Example: netvps web --open
    """,
)
