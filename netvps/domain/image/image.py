"""An image on a runner, and how far work on one is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Final

_MB: Final = 1_000_000
_MIN_SECONDS: Final = 1.0
"""A rate is measured for at least this long before a remaining time is calculated from it."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image on a runner, by one of its names."""

    reference: str
    digest: str
    """Its id."""
    size_bytes: int
    architecture: str
    """As in a platform: "amd64", "arm64/v8"."""
    create_time: datetime
    sessions: tuple[str, ...] = ()
    """Uids of the sessions whose container was made from it."""


@dataclass(frozen=True, slots=True)
class ImageView:
    """An image as people see it."""

    runner: str
    """NAME of the runner that has it."""
    reference: str
    digest: str
    size_bytes: int
    architecture: str
    create_time: datetime
    is_default: bool
    session_count: int


@dataclass(frozen=True, slots=True)
class ImageProgress:
    """How far work on an image is. Bytes and layers are 0 while unknown."""

    message: str
    done_bytes: int = 0
    total_bytes: int = 0
    done_layers: int = 0
    total_layers: int = 0
    remaining: float | None = None
    """Seconds, at the rate so far."""

    @property
    def line(self) -> str:
        """All of it in one line: "pulling debian:12: 34 MB of 120 MB, 1 of 3 layers, 12 s left"."""
        parts = []
        if self.total_bytes:
            parts.append(f"{self.done_bytes // _MB} MB of {max(self.total_bytes // _MB, 1)} MB")
        if self.total_layers:
            parts.append(f"{self.done_layers} of {self.total_layers} layers")
        if self.remaining is not None:
            parts.append(f"{self.remaining:.0f} s left")
        return f"{self.message}: {', '.join(parts)}" if parts else self.message


def remaining_seconds(done_bytes: int, total_bytes: int, elapsed: float) -> float | None:
    """Seconds for the rest at the rate so far; None while that says nothing."""
    if elapsed < _MIN_SECONDS or not 0 < done_bytes < total_bytes:
        return None
    return (total_bytes - done_bytes) * elapsed / done_bytes


@dataclass(frozen=True, slots=True)
class DefaultImage:
    """The image of sessions that name none, as an admin chose it."""

    kind: ClassVar[str] = "default_image"

    reference: str
    """'' means the setting of the server."""
    revision: int = 0

    @property
    def key(self) -> str:
        """Primary key in the store: there is one."""
        return DEFAULT_KEY


DEFAULT_KEY: Final = "default"
