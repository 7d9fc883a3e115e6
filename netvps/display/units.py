"""Sizes and times for people, and back."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kmgt])(?:ib?|b)?|b)?", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def parse_size(text: str) -> int:
    """Bytes of 512M, 2G, 2Gi, 1.5GiB; the units are powers of 1024. Raises ValueError."""
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a size: give a number and K, M, G or T, for example 2G")
    return int(float(match[1]) * _UNITS[(match[2] or "").lower()])


def size_words(size: int) -> str:
    """Bytes for people: 1536 → 1.5K."""
    value = float(size)
    for unit in ("", "K", "M", "G", "T"):
        if value < 1024 or unit == "T":  # noqa: PLR2004 — the unit itself
            return f"{value:.1f}".removesuffix(".0") + unit
        value /= 1024
    raise AssertionError("the last unit holds everything")


def duration_words(seconds: float) -> str:
    """Seconds as people type them: 90 → 1m30s."""
    hours, rest = divmod(round(seconds), 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{hours}h" if hours else "", f"{minutes}m" if minutes else "", f"{rest}s" if rest else ""]
    return "".join(parts) or f"{seconds:g}s"


def age(moment: datetime, now: datetime | None = None) -> str:
    """How long ago, with one unit: 5m."""
    seconds = max(0, int(((now or datetime.now(UTC)) - moment).total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def moment_words(moment: datetime) -> str:
    """A time in the clock of this machine, to the second."""
    return moment.astimezone().isoformat(" ", "seconds")


def minute_words(moment: datetime) -> str:
    """A time in the clock of this machine, to the minute."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def gpu_words(count: int) -> str:
    """A number of GPUs: 1 GPU, 4 GPUs."""
    return f"{count} GPU" if count == 1 else f"{count} GPUs"
