"""What a runner stores about a stopped session in case Docker loses its container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import datetime

    from netvps.domain.session.session import SnapshotImage


HELD: Final = "held"
"""The end of a run whose processes have ended, while its container still runs."""


def keeps(kept: str, run: str) -> bool:
    """Whether what was kept of the run `kept` is all that `run` left: they are one, or it was held, and ended later."""
    return kept == run or (kept.endswith(f" {HELD}") and kept.rpartition(" ")[0] == run.rpartition(" ")[0])


@dataclass(frozen=True, slots=True)
class SavedFiles:
    """The runner's own copy of a container's writable layer. Docker does not know it, so `docker prune` keeps it."""

    run: str
    """Container.run"""
    image: str
    """Id of the image below the files."""
    create_time: datetime
    image_saved: bool = True
    """Whether that image is saved as well, or available from a registry."""
    excluded: tuple[str, ...] = ()
    """Paths that were left out, as the session asked."""


@dataclass(frozen=True, slots=True)
class Started:
    """The last start of a session that may stay down once its container ends by itself."""

    generation: int
    """The generation that it was started for, or that was reached while it ran."""
    run: str
    """Container.run at that time; any other one has ended since."""
    failures: int
    """Failures in a row before."""


@dataclass(frozen=True, slots=True)
class LastRun:
    """The run after which the session was last stopped on this runner, and the generation of the latest stop since."""

    run: str
    """Container.run"""
    generation: int

    def is_latest(self, snapshot: SnapshotImage | None) -> bool:
        """False if a snapshot is of a later stop: then a version of netvps that keeps no containers has run since."""
        return snapshot is None or snapshot.generation <= self.generation
