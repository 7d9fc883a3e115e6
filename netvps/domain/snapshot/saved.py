"""A snapshot on a runner."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class SavedSnapshot:
    """A complete and verified snapshot on this machine."""

    uid: str
    run: str
    """The run of the container that it is of (domain.session.container.Container.run)."""
    image: str
    """Id of the image below the files."""
    size_bytes: int
    create_time: datetime
    warnings: tuple[str, ...] = ()
