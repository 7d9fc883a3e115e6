"""`netvps top`: what sessions and runners use, as it changes."""

from __future__ import annotations

import random
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import click

from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import RUNNER, SESSION
from netvps.cli.ui.output import Column, View, emit, json_text, note
from netvps.cli.ui.terminal import moving
from netvps.display.units import size_words
from netvps.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netvps.client import Client
    from netvps.domain.metrics import MetricSample

_FRESH: Final = 5.0
"""Seconds after which a resource without a sample is not shown any more."""
_COMPLETE: Final = 2.5
"""Seconds until every resource has had a sample: runners find the processes of sessions first."""
_ATTEMPTS: Final = 8
_NONE: Final = (
    "no samples for three seconds: no such session runs, or its runner is not connected or is older than the server;"
    " see netvps ls and netvps runner ls"
)
_CLEAR: Final = "\x1b[H\x1b[2J\x1b[3J"


@click.command("top")
@click.argument("names", nargs=-1, type=SESSION)
@click.option("-a", "--all", "everybody", is_flag=True, help="All sessions you may see, not only your own.")
@click.option("-r", "--runner", "runners", multiple=True, type=RUNNER, metavar="RUNNER", help="This runner, too.")
@click.option("-1", "--once", is_flag=True, help="Print once and end.")
@click.option("-o", "--output", "form", type=click.Choice(["table", "jsonl"]), default="table", show_default=True)
def top(*, names: tuple[str, ...], everybody: bool, runners: tuple[str, ...], once: bool, form: str) -> None:
    """Show what running sessions use, every second until Ctrl-C: all of yours, or those named.

    100 % of CPU is one CPU. Memory is without file cache that the system can take back.

    \b
    Examples: netvps top
              netvps top dev1 -r lab1
              netvps top -o jsonl
    """  # noqa: D301 — Click means the character
    if everybody and (names or runners):
        raise click.UsageError("--all and names exclude each other: give one of them")
    live, begun = _Live(own=not everybody), time.monotonic()
    for samples in _resumed(client(), names, runners, "-" if everybody else ""):
        if not samples:
            if once and not live:
                raise Unavailable(_NONE)
            note(_NONE)
        live.store(samples)
        complete = time.monotonic() - begun >= _COMPLETE
        if form == "jsonl":
            for sample in samples:
                emit(json_text(_json(sample)))
            sys.stdout.flush()
        elif complete or not once:
            live.print(in_place=not once)
        if once and complete:
            return


class _Live:
    """The latest sample of each resource."""

    def __init__(self, *, own: bool) -> None:
        self._latest: dict[str, tuple[float, MetricSample]] = {}
        self._view = _view(own=own)

    def __bool__(self) -> bool:
        return bool(self._latest)

    def store(self, samples: list[MetricSample]) -> None:
        """Keeps new samples."""
        now = time.monotonic()
        self._latest |= {sample.name: (now, sample) for sample in samples}

    def print(self, *, in_place: bool) -> None:
        """Prints all of them: in place on a terminal, else below the last time."""
        now = time.monotonic()
        shown = [sample for name, (seen, sample) in sorted(self._latest.items()) if now - seen < _FRESH]
        if in_place and sys.stdout.isatty() and moving():
            sys.stdout.write(_CLEAR)
        self._view.print_all(shown, "table")
        if in_place and not sys.stdout.isatty():
            emit("")
        sys.stdout.flush()


def _resumed(
    connection: Client, sessions: tuple[str, ...], runners: tuple[str, ...], parent: str
) -> Iterator[list[MetricSample]]:
    """Samples until Ctrl-C. Raises Unavailable after eight failed attempts in a row."""
    failures = 0
    while True:
        try:
            for samples in connection.watch_metrics(sessions, runners, parent):
                failures = 0
                yield samples
            failure = Unavailable("the server ended the stream of samples")
        except Unavailable as error:
            failure = error
        failures += 1
        if failures >= _ATTEMPTS:
            raise failure
        note(f"{failure}; trying again")
        time.sleep(random.uniform(0, min(10.0, 0.2 * 2**failures)))  # noqa: S311 — jitter


def _view(*, own: bool) -> View[MetricSample]:
    return View(
        name=lambda sample: _called(sample, own=own),
        columns=(
            Column("NAME", lambda sample: _called(sample, own=own)),
            Column("CPU", lambda sample: f"{sample.measured.cpus * 100:.0f} %"),
            Column("MEMORY", lambda sample: size_words(sample.measured.memory_bytes)),
            Column("RECEIVED", lambda sample: _rate_words(sample.measured.received_rate)),
            Column("SENT", lambda sample: _rate_words(sample.measured.sent_rate)),
        ),
        json=_json,
    )


def _called(sample: MetricSample, *, own: bool) -> str:
    """The name to type: short for one's own session; a runner keeps what tells it from a session."""
    name = sample.name.removeprefix("sessions/")
    return name.partition(".")[0] if own else name


def _rate_words(rate: float | None) -> str:
    return "unknown" if rate is None else f"{size_words(round(rate))}/s"


def _json(sample: MetricSample) -> dict[str, Any]:
    from netvps.rpc.jsonform import to_json

    return to_json(sample)
