"""What a runner keeps of a stopped session for the case that Docker loses its container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.session import Snapshot


@dataclass(frozen=True, slots=True)
class SavedFiles:
    """The runner's own copy of what a container wrote over its image. Docker knows nothing of it, so prunes nothing."""

    run: str
    """Container.run"""
    image: str
    """Id of the image under the files."""
    create_time: datetime
    image_saved: bool = True
    """That image is saved, too, or in a registry."""


@dataclass(frozen=True, slots=True)
class LastRun:
    """The run after which the session was last stopped here, and the generation of the latest stop since."""

    run: str
    """Container.run"""
    generation: int

    def is_latest(self, snapshot: Snapshot | None) -> bool:
        """False if a snapshot is of a later stop: then a netvps that kept no containers has run here meanwhile."""
        return snapshot is None or snapshot.generation <= self.generation
