"""`netvps config`: the settings in effect for the programs of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from netvps.cli.ui.output import Column, View, format_option, note

if TYPE_CHECKING:
    from netvps.settings import Sourced

_PROGRAMS = ("server", "runner")


@click.group("config")
def config() -> None:
    """The settings of the programs on this machine."""


@config.command("show")
@click.argument("programs", nargs=-1, metavar="[server|runner]", type=click.Choice(_PROGRAMS))
@click.option("--sources", "with_sources", is_flag=True, help="Show all settings, each with what sets it.")
@click.option("--config", "file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="TOML file with settings (NETVPS_CONFIG).")  # fmt: skip
@format_option
def show(programs: tuple[str, ...], with_sources: bool, file: Path | None, form: str) -> None:
    """Print the settings that differ from the defaults, and check all of them. Secrets are not shown.

    It reads what a program reads that starts in this shell: the environment, the flags that `netvps up` keeps, the
    configuration file, and the credentials of systemd. A wrong setting ends it with exit code 10.

    Example: netvps config show --sources
    """
    from netvps import settings
    from netvps.config import paths, remembered_flags

    kept = remembered_flags(paths().state)
    remembered_file = kept.pop("config", None)
    file = file or (Path(remembered_file) if remembered_file and not settings.config_file() else None)
    shown: list[tuple[str, Sourced]] = []
    for kind in settings.PROGRAMS:
        if programs and kind.table not in programs:
            continue
        for warning in settings.warnings(settings.load(kind, {}, file, remembered=kept)):
            note(f"warning: {warning}")
        shown += [
            (kind.table, one)
            for one in settings.sources(kind, {}, file, remembered=kept)
            if with_sources or one.source != "default"
        ]
    if not shown and form in {"table", "wide"}:
        note("every setting has its default; `netvps config show --sources` lists them")
    _view(with_sources=with_sources).print_all(shown, form)


def _view(*, with_sources: bool) -> View[tuple[str, Sourced]]:
    def json(row: tuple[str, Sourced]) -> dict[str, Any]:
        return {"program": row[0], "name": row[1].name, "value": row[1].value, "source": row[1].source}

    return View(
        name=lambda row: f"{row[0]}.{row[1].name}",
        columns=(
            Column("PROGRAM", lambda row: row[0]),
            Column("SETTING", lambda row: row[1].name),
            Column("VALUE", lambda row: row[1].value),
            Column("SOURCE", lambda row: row[1].source, wide=not with_sources),
        ),
        json=json,
    )
