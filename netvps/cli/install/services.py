"""`netvps service`: units of systemd for each shape."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from netvps.cli.install import units
from netvps.cli.machine import service as everything
from netvps.cli.machine import systemd_unit
from netvps.cli.ui.output import emit, note
from netvps.errors import AlreadyExists, ConfigError, InvalidInput, NotPermitted

ALL: Final = "all-in-one"
SHAPES: Final = (ALL, "server", "runner")
_SECRETS: Final = {"server": ("database_url",), "runner": ("join_token",), ALL: ()}
"""Settings that may come as credentials."""
_shape = click.option("--shape", type=click.Choice(SHAPES), default=ALL, show_default=True, help="What runs here.")
_config = click.option(
    "--config", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="TOML file with its settings."
)
_credential = click.option(
    "--credential",
    "given",
    multiple=True,
    metavar="NAME=FILE",
    help="A secret: database_url or join_token; repeatable.",
)


@click.group("service")
def service() -> None:
    """Let systemd start netvps at boot."""


@service.command("render")
@_shape
@_config
@_credential
def render(shape: str, config: Path | None, given: tuple[str, ...]) -> None:
    """Print the unit, and change nothing.

    Example: netvps service render --shape server
    """
    emit(_unit(shape, config, given).rstrip("\n"))


@service.command("install")
@_shape
@_config
@_credential
def install(shape: str, config: Path | None, given: tuple[str, ...]) -> None:
    """Write the unit, start it now, and at each boot. A unit that is different and exists is not replaced.

    Variables (NETVPS_...) that are set in this shell are written into the unit.

    Example: netvps service install --shape runner --credential join_token=/root/token
    """
    if shape == ALL:
        unit = everything.check()
        everything.write(unit)
        everything.start()
        return
    unit = _unit(shape, config, given)
    file = _file(shape)
    _require_systemd()
    if file.exists() and file.read_text(encoding="utf-8") != unit:
        raise AlreadyExists(
            f"{file} is another unit: `netvps service uninstall --shape {shape}` ends and removes it; then again"
        )
    try:
        file.write_text(unit, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}; see to its folder, then again") from None
    everything.systemctl("daemon-reload")
    everything.systemctl("enable", "--now", file.name)
    note(f"systemd runs it, and starts it at each boot: systemctl status {file.stem}")


@service.command("uninstall")
@_shape
def uninstall(shape: str) -> None:
    """End the service, and remove its unit. Its data stays.

    Example: netvps service uninstall --shape server
    """
    if shape == ALL:
        everything.uninstall()
        return
    file = _file(shape)
    if not file.exists():
        note(f"nothing to uninstall: there is no {file}")
        return
    _require_systemd()
    everything.remove(file)
    note(f"removed {file}; data stays in /var/lib/netvps")


def unit_files() -> list[Path]:
    """The units of netvps that this account may have installed."""
    own = [everything.unit_file()]
    return own + [_file(shape) for shape in SHAPES if shape != ALL] if os.geteuid() == 0 else own


def _unit(shape: str, config: Path | None, given: tuple[str, ...]) -> str:
    environment = systemd_unit.lasting(os.environ)
    if config is not None:
        environment["NETVPS_CONFIG"] = str(config.absolute())
    credentials = _credentials(shape, given)
    if shape == ALL:
        return systemd_unit.render(everything.program(), environment, system=os.geteuid() == 0)
    return units.render(shape, everything.program(), environment, credentials)


def _credentials(shape: str, given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for word in given:
        name, _, file = word.partition("=")
        if name not in _SECRETS[shape]:
            known = ", ".join(_SECRETS[shape]) or "none: give its file as a variable (NETVPS_DATABASE_URL_FILE)"
            raise InvalidInput.of("--credential", f"{name!r} is no secret of the shape {shape}; it has {known}")
        if not Path(file).is_absolute():
            raise InvalidInput.of("--credential", f"{word!r}: give NAME=FILE, with the whole path of the file")
        found[name] = file
    return found


def _file(shape: str) -> Path:
    return everything.SYSTEM_UNITS / f"netvps-{shape}.service"


def _require_systemd() -> None:
    if not everything.RUNNING.exists():
        raise ConfigError(
            "systemd does not run on this machine (no /run/systemd/system); `netvps service render` prints the unit"
        )
    if os.geteuid() != 0:
        raise NotPermitted("a service of the machine is root's to install: be root, then again")
