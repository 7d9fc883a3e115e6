"""Loads the settings of a program from their sources, and says from which one each value comes."""

from __future__ import annotations

import difflib
import os
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import SecretStr, TypeAdapter, ValidationError

from netvps.errors import ConfigError
from netvps.settings.programs import COMMON, OTHER_VARIABLES, PREFIX, PROGRAMS, SERVICE_PREFIX, Settings, secrets_of
from netvps.settings.secret_files import credentials, exposure

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

S = TypeVar("S", bound=Settings)
_RULES = {"int_parsing": "give a whole number", "float_parsing": "give a number", "bool_parsing": "give true or false"}
_FLAG, _ENVIRONMENT, _KEPT, _FILE, _CREDENTIAL = "flag", "environment", "kept flag", "file", "systemd credential"


@dataclass(frozen=True, slots=True)
class Sourced:
    """One setting: its value as text, "" for none, and what it comes from ("environment NETVPS_SSH_PORT")."""

    name: str
    value: str
    source: str


def load(
    settings: type[S],
    flags: Mapping[str, Any],
    file: Path | None = None,
    *,
    remembered: Mapping[str, Any] | None = None,
) -> S:
    """The settings in effect: `flags`, else environment, else `remembered` (earlier flags), else file, else systemd.

    Raises ConfigError that names each wrong setting, its value, and what to do.
    """
    layers = _layers(settings, flags, file or config_file(), remembered)
    # pydantic reads the environment by itself.
    values = {name: value for kind, layer in layers if kind != _ENVIRONMENT for name, value in layer.items()}
    try:
        return settings(**values)
    except ValidationError as error:
        raise ConfigError(_sentence(error, settings)) from None


def sources(
    settings: type[Settings],
    flags: Mapping[str, Any],
    file: Path | None = None,
    *,
    remembered: Mapping[str, Any] | None = None,
) -> list[Sourced]:
    """Each setting in effect with its source; a secret is not shown. Raises ConfigError as `load` does."""
    loaded = load(settings, flags, file, remembered=remembered)
    file = file or config_file()
    found = {name: kind for kind, layer in _layers(settings, flags, file, remembered) for name in layer}
    shown = []
    for name in settings.model_fields:
        kind = found.get(name, "")
        if not kind and name in secrets_of(settings) and f"{name}_file" in found:
            kind = f"{name}_file"
        shown.append(Sourced(name, _shown(loaded, name), _source(kind, name, settings, file)))
    return shown


def warnings(settings: Settings) -> list[str]:
    """Sentences about settings that are in effect, but unsafe."""
    named = ((getattr(settings, f"{name}_file"), f"{name}_file") for name in secrets_of(type(settings)))
    return [warning for file, name in named if file is not None and (warning := exposure(file, name))]


def _layers(
    settings: type[Settings], flags: Mapping[str, Any], file: Path | None, remembered: Mapping[str, Any] | None
) -> list[tuple[str, dict[str, Any]]]:
    """What each source sets and no stronger one overrides; each name is in one of them at most."""
    refuse_unknown_variables(os.environ)
    all_layers: list[tuple[str, dict[str, Any]]] = [
        (_FLAG, {name: value for name, value in flags.items() if value is not None}),
        (_ENVIRONMENT, {name: "" for name in settings.model_fields if PREFIX + name.upper() in os.environ}),
        (_KEPT, {name: value for name, value in (remembered or {}).items() if name in settings.model_fields}),
        (_FILE, _read(file, settings)),
        (_CREDENTIAL, credentials(secrets_of(settings))),
    ]
    set_above: set[str] = set()
    layers = []
    for kind, values in all_layers:
        # pydantic reads the environment by itself: a flag with a secret's file beside the secret in the environment
        # stays an error, as both are set by the person who starts the program.
        layers.append((kind, _below(values, set_above, settings)))
        set_above |= values.keys()
    return layers


def _below(values: dict[str, Any], stronger: Collection[str], settings: type[Settings]) -> dict[str, Any]:
    """The values of one source that the names in `stronger`, set by another source, do not override.

    A secret and its file count as one setting; otherwise the two sources together would be refused as both set.
    """
    gone = set(stronger)
    for name in secrets_of(settings):
        if {name, f"{name}_file"} & gone:
            gone |= {name, f"{name}_file"}
    return {name: value for name, value in values.items() if name not in gone}


def _shown(settings: Settings, name: str) -> str:
    if name in COMMON:
        return str(settings.paths.state if name == "state_dir" else settings.paths.runtime)
    match getattr(settings, name):
        case None:
            return ""
        case SecretStr():
            return "(hidden)"
        case bool() as switch:
            return str(switch).lower()
        case value:
            return str(value)


def _source(kind: str, name: str, settings: type[Settings], file: Path | None) -> str:
    match kind:
        case "":
            return "default"
        case "flag":
            return f"flag --{name.replace('_', '-')}"
        case "environment":
            return f"environment {PREFIX}{name.upper()}"
        case "kept flag":
            return "kept flag of netvps up"
        case "file":
            return f"file {file}" + ("" if name in COMMON else f" [{settings.table}]")
        case _:
            return kind


def check_value(settings: type[Settings], name: str, value: object) -> None:
    """Raises ValueError with the rule if a value is not valid for a setting."""
    field = settings.model_fields[name]
    try:
        rules: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        TypeAdapter(rules).validate_python(value)
    except ValidationError as error:
        raise ValueError(_rule(dict(error.errors(include_url=False)[0]))) from None


def config_file() -> Path | None:
    """The configuration file that the environment names."""
    named = os.environ.get("NETVPS_CONFIG")
    return Path(named) if named else None


def _read(file: Path | None, settings: type[Settings]) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {file} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"configuration {file} is not TOML: {error}") from None
    known = [*COMMON, *(program.table for program in PROGRAMS)]
    for key in content:
        if key not in known:
            raise ConfigError(f"configuration {file}: unknown key {key!r}{_suggestion(key, known)}")
    table = content.get(settings.table, {})
    if not isinstance(table, dict):
        raise ConfigError(f"configuration {file}: {settings.table!r} is a table: write [{settings.table}]")
    return {key: content[key] for key in COMMON if key in content} | table


def refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    """Raises ConfigError for a variable with the prefix that no program reads, which is most likely a typo."""
    known = OTHER_VARIABLES.keys() | {PREFIX + name.upper() for program in PROGRAMS for name in program.model_fields}
    for variable in environ:
        if variable.startswith(PREFIX) and variable not in known and not variable.startswith(SERVICE_PREFIX):
            raise ConfigError(f"environment: unknown variable {variable}{_suggestion(variable, known)}; unset it")


def _sentence(error: ValidationError, settings: type[Settings]) -> str:
    parts = []
    for item in error.errors(include_url=False):
        name = ".".join(str(part) for part in item["loc"])
        message = _rule(dict(item))
        if item["type"] == "extra_forbidden":
            parts.append(f"unknown setting {name!r}{_suggestion(name, list(settings.model_fields))}")
        elif not name:
            parts.append(message)
        elif name in secrets_of(settings):
            parts.append(f"{name}: {message}")
        else:
            parts.append(f"{name}: {item['input']!r} is wrong: {message}")
    return "; ".join(parts)


def _rule(item: Mapping[str, Any]) -> str:
    """Turns pydantic's message about a value into an instruction."""
    if rule := _RULES.get(item["type"]):
        return rule
    message = str(item["msg"]).removeprefix("Value error, ")
    expected = message.removeprefix("Input should be ")
    if expected == message:
        return message[:1].lower() + message[1:]
    return f"give a value {expected}" if expected.startswith(("less", "greater")) else f"give {expected}"


def _suggestion(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean {close[0]}?" if close else f": known are {', '.join(sorted(known))}"
