"""`netvps init`: a folder from which Docker Compose runs netvps."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from netvps.cli.ui.output import emit, note
from netvps.errors import AlreadyExists, ConfigError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TEMPLATES: Final = Path(__file__).with_name("compose")
"""The compose files of all shapes; deploy/compose is a link to it."""
SHAPES: Final = ("all-in-one", "server-runners", "server", "runner", "server-auth")
_CADDYFILE: Final = Path(__file__).with_name("caddy") / "Caddyfile"
_PUBLIC_NAME, _SERVER, _TOKEN = "NETVPS_PUBLIC_NAME", "NETVPS_SERVER", "NETVPS_JOIN_TOKEN_FILE"
_COMPOSE, _TOKEN_FILE = "compose.yml", "join-token"
_VARIABLE: Final = re.compile(r"\$\{([A-Z_]+):([-?])([^}]*)\}")
_PROFILE: Final = re.compile(r"profiles: \[(\w+)\]")
_PLAIN: Final = re.compile(r"[\w.:/@,+=\[\]-]*", re.ASCII)
"""What Docker Compose reads from .env without quotes."""


@click.command("init")
@click.option("--shape", type=click.Choice(SHAPES), required=True, help="What runs here (see `docs/containers.md`).")
@click.option("--public-name", metavar="NAME", help="Host name or address by which clients reach the server.")
@click.option("--server", metavar="HOST:PORT", help="Of a runner: the API of its server.")
@click.option("--join-token", "token", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True), metavar="FILE",
              help="Of a runner: file with its token, from `netvps runner join-token`; '-' reads it.")  # fmt: skip
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path, file_okay=False))
def init(shape: str, public_name: str | None, server: str | None, token: Path | None, folder: Path) -> None:
    """Write a folder from which Docker Compose runs netvps, and print the command that starts it.

    compose.yml is the file of the shape, .env its settings: those of the variables that are set in this shell
    (NETVPS_SSH_PORT, ...), and the others with their defaults, as comments. A secret is a file that only its owner
    reads. A file that exists and is different is not replaced.

    Example: netvps init --shape all-in-one --public-name vps.example.org netvps
    """
    template = (TEMPLATES / f"{shape}.yml").read_text(encoding="utf-8")
    given = {_PUBLIC_NAME: public_name, _SERVER: server}
    options = {variable: value for variable, value in given.items() if value is not None}
    files = {_COMPOSE: template, ".env": _environment(template, os.environ | options, shape, options)}
    if _needs_token(template):
        files[_TOKEN_FILE] = f"{_read_token(token)}\n"
    elif token is not None:
        raise InvalidInput.of("--join-token", f"the shape {shape} needs none: leave it out")
    if "/Caddyfile:" in template:
        files[_CADDYFILE.name] = _CADDYFILE.read_text(encoding="utf-8")
    _write(folder, files)
    profiles = "".join(f" --profile {name}" for name in _PROFILE.findall(template))
    emit(f"cd {shlex.quote(str(folder))} && {_program()}{profiles} up -d")


def _needs_token(template: str) -> bool:
    return f"${{{_TOKEN}:" in template


def _environment(template: str, values: Mapping[str, str], shape: str, options: Mapping[str, str]) -> str:
    """The text of .env. Raises InvalidInput for a value that the programs refuse, or that nothing here reads."""
    lines = [f"# Settings of compose.yml; written by netvps for the shape {shape}."]
    known = {name: (kind, default) for name, kind, default in _VARIABLE.findall(template) if name != _TOKEN}
    for name in options:
        if name not in known:
            raise InvalidInput.of(_field(name), f"the shape {shape} does not read it: leave it out")
    for name, (kind, default) in known.items():
        value = values.get(name)
        if value:
            _check(name, value)
            if kind == "?" and name == _PUBLIC_NAME and "," in value:
                raise InvalidInput.of(_field(name), f"{value!r} is wrong: the shape {shape} has one name")
            lines.append(f"{name}={value}")
        elif kind == "?":
            raise InvalidInput.of(_field(name), f"the shape {shape} needs it: {default}")
        else:
            lines.append(f"#{name}={default}")
    return "\n".join(lines) + "\n"


def _check(name: str, value: str) -> None:
    try:
        _check_meaning(name, value)
    except ValueError as error:
        raise InvalidInput.of(_field(name), f"{value!r} is wrong: {error}") from None
    except InvalidInput as error:
        raise InvalidInput.of(_field(name), error.violations[0].description) from None


def _check_meaning(name: str, value: str) -> None:
    from netvps import settings
    from netvps.domain.image.reference import check_reference

    if not _PLAIN.fullmatch(value):
        raise ValueError("use letters, digits and . : / @ , + = - _ only")
    setting = "http_port" if name.endswith("_PORT") else name.removeprefix(settings.PREFIX).lower()
    if name.endswith("_IMAGE"):
        check_reference(value)
    elif name.endswith("_OPTIONS"):
        return
    elif owner := next((kind for kind in settings.PROGRAMS if setting in kind.model_fields), None):
        settings.check_value(owner, setting, value)
    elif not Path(value).is_absolute():  # a folder of a runner, or Docker's socket
        raise ValueError("give a whole path, for example /srv/netvps")


def _field(variable: str) -> str:
    return {_PUBLIC_NAME: "--public-name", _SERVER: "--server"}.get(variable, variable)


def _read_token(file: Path | None) -> str:
    from netvps.settings.secret_files import read_secret

    if file is None:
        raise InvalidInput.of("--join-token", "a runner needs one: make it by `netvps runner join-token` on the server")
    source = Path("/dev/stdin") if str(file) == "-" else file
    try:
        return read_secret(source, "--join-token")
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Writes what is missing; nothing if one of the files exists and is different."""
    from netvps.files import write_file

    try:
        folder.mkdir(parents=True, exist_ok=True)
        missing = list(_missing(folder, files))
        for name in missing:
            write_file(folder / name, files[name].encode(), 0o600 if name == _TOKEN_FILE else 0o644)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}; choose another folder") from None
    note(f"wrote {', '.join(missing)} in {folder}" if missing else f"{folder} has all of it already")


def _missing(folder: Path, files: Mapping[str, str]) -> Iterator[str]:
    for name, content in files.items():
        try:
            if (folder / name).read_bytes() == content.encode():
                continue
        except FileNotFoundError:
            yield name
            continue
        raise AlreadyExists(f"{folder / name} exists and is different: choose another folder, or remove it")


def _program() -> str:
    return "docker-compose" if shutil.which("docker-compose") else "docker compose"
