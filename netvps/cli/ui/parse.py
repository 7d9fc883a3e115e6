"""What people type, read at the door: sizes, times, and KEY=VALUE; as types of click."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from netvps.display.units import parse_size

if TYPE_CHECKING:
    from collections.abc import Iterable

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?", re.IGNORECASE)


class Size(click.ParamType[int]):
    """A number of bytes: 512M, 2G, 2Gi, 1.5GiB; the units are powers of 1024."""

    name = "SIZE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes of what was typed."""
        if isinstance(value, int):
            return value
        try:
            return parse_size(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Duration(click.ParamType[float]):
    """A time in seconds: 30s, 10m, 1h30m, 90."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds of what was typed."""
        if isinstance(value, (int, float)):
            return float(value)
        match = _DURATION.fullmatch(str(value).strip())
        if match is None or not any(match.groups()):
            self.fail(f"{value!r} is not a time: give for example 30s, 10m or 1h30m", param, ctx)
        days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
        return days * 86_400 + hours * 3600 + minutes * 60 + seconds


class Since(click.ParamType[datetime]):
    """A moment in the past: how long ago (10m, 2h, 3d), or a date and time of this machine's clock."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment, with its zone."""
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        try:
            if text and _DURATION.fullmatch(text):
                return datetime.now(UTC) - timedelta(seconds=DURATION.convert(text, param, ctx))
            return datetime.fromisoformat(text).astimezone()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a time: give for example 10m, 2h, 3d or 2026-01-31T12:00", param, ctx)


class Until(click.ParamType[datetime]):
    """A moment in the future: how long from now (10m, 2h, 3d), or a date and time of this machine's clock."""

    name = "TIME"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """The moment, with its zone."""
        if isinstance(value, datetime):
            return value
        text, now = str(value).strip(), datetime.now(UTC)
        try:
            if text and _DURATION.fullmatch(text):
                moment = now + timedelta(seconds=DURATION.convert(text, param, ctx))
            else:
                moment = datetime.fromisoformat(text).astimezone()
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a time: give for example 2h, 7d or 2026-01-31T12:00", param, ctx)
        if moment <= now:
            self.fail(f"{value!r} is over: give a time in the future, for example 2h", param, ctx)
        return moment


SIZE = Size()
DURATION = Duration()
SINCE = Since()
UNTIL = Until()


class Number(click.ParamType[float]):
    """A number, with an example in the error."""

    name = "N"

    def __init__(self, example: str) -> None:
        self._example = example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number that was typed."""
        try:
            return float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number: give for example {self._example}", param, ctx)


def pairs(words: Iterable[str], option: str) -> dict[str, str]:
    """The KEY=VALUE words of an option given several times. Raises a usage error that names the option."""
    found: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise click.BadParameter(
                f"{word!r} is not KEY=VALUE: give for example {option} NAME=value", param_hint=option
            )
        if key in found:
            raise click.BadParameter(f"{key!r} is given twice: give it once", param_hint=option)
        found[key] = value
    return found
