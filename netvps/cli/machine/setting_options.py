"""Options of a command line that are the settings of a program: names, help, and the check of values."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from netvps.settings import check_value, is_repeatable, secrets_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from netvps.settings import Settings


class SettingType(click.ParamType[str]):
    """The value of one setting: checked by the setting's own rules, and passed on as it was typed."""

    def __init__(self, settings: type[Settings], name: str) -> None:
        self._settings = settings
        self._setting = name
        self._kinds = _parts(settings.model_fields[name].annotation)
        self.name = self._setting

    @property
    def metavar(self) -> str:
        """What stands for the value in the help."""
        words = self._words()
        last = self._setting.rsplit("_", 1)[-1].upper()
        if words:
            return "|".join(words)
        if int in self._kinds:
            return "PORT" if last == "PORT" else "N"
        return "SECONDS" if float in self._kinds else last

    def _words(self) -> list[str]:
        """The only values that it can have, where they are few."""
        return ["true", "false"] if bool in self._kinds else [kind for kind in self._kinds if isinstance(kind, str)]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The value itself. Fails with the broken rule."""
        try:
            check_value(self._settings, self._setting, value)
        except ValueError as error:
            self.fail(f"{value!r} is wrong: {error}", param, ctx)
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The few values that there are, or files."""
        if Path in self._kinds:
            return [CompletionItem(incomplete, type="dir" if self._setting.endswith("_dir") else "file")]
        return [CompletionItem(word) for word in self._words() if word.startswith(incomplete)]


def _parts(annotation: Any) -> list[Any]:
    """The types, and the literal values, that an annotation is made of."""
    inner = () if annotation is None else typing.get_args(annotation)
    return [part for kind in inner for part in _parts(kind)] if inner else [annotation]


def program_options(*, in_background: bool) -> list[click.Parameter]:
    """Options of every long-running program."""
    found: list[click.Parameter] = [
        click.Option(["--config"], type=click.Path(path_type=Path), metavar="FILE",
                     help="TOML file with settings (NETVPS_CONFIG)."),
        click.Option(["--verbose"], is_flag=True, help="Log what is of interest to developers, too."),
    ]  # fmt: skip
    if in_background:
        found.append(click.Option(["--foreground"], is_flag=True, help="Stay in the foreground, and log to stderr."))
    return found


def setting_options(kinds: Sequence[type[Settings]], without: Collection[str]) -> list[click.Parameter]:
    """An option for each setting; none for a secret: every account of the machine can read a command line."""
    found: dict[str, click.Parameter] = {}
    for settings in kinds:
        secret = secrets_of(settings)
        for name, field in settings.model_fields.items():
            if name in secret or name in without or name in found:
                continue
            kind = SettingType(settings, name)
            text = _help(field.description or "", field.default)
            found[name] = click.Option(
                [f"--{name.replace('_', '-')}", name],
                type=kind,
                metavar=kind.metavar,
                help=text,
                multiple=is_repeatable(settings, name),
                callback=_join if is_repeatable(settings, name) else None,
                **_switch(field.default),
            )
    return [*found.values()]


def _switch(default: object) -> dict[str, Any]:
    """The flag of a setting that is off by default may stand alone, which turns it on."""
    return {"is_flag": False, "flag_value": "true"} if default is False else {}


def _join(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> str | None:
    return ",".join(values) or None


def _help(description: str, default: object) -> str:
    """A description as a sentence, with the default where it is one word."""
    word = str(default).lower() if isinstance(default, bool) else str(default)
    known = f" (default {word})" if isinstance(default, str | int | float) and word else ""
    return f"{description[:1].upper()}{description[1:]}{known}."


def internal_options() -> list[click.Parameter]:
    """What the process that starts a program tells it: see netvps.process.readiness."""
    return [
        click.Option(["--ready-fd"], type=int, hidden=True),
        click.Option(["--parent"], type=int, hidden=True),
        click.Option(["--beat-every"], type=float, hidden=True),
    ]
