"""Assembles updates of the netmap until it is complete: an incomplete map is never acted upon."""

from __future__ import annotations

from netvps.domain.overlay.netmap import Netmap, NetmapUpdate
from netvps.errors import DataLoss


class PendingNetmap:
    """Holds the last complete map, and updates since."""

    def __init__(self, netmap: Netmap) -> None:
        self.netmap = netmap
        self._next: Netmap | None = None
        self._refused = False

    @property
    def generation(self) -> int:
        """The generation to resume from; 0 to request everything."""
        return 0 if self._refused else self.netmap.generation

    def begin(self) -> None:
        """Starts a connection: drops an incomplete map, which will be sent again."""
        self._next = None

    def apply(self, update: NetmapUpdate) -> bool:
        """Adds an update; returns whether the map is complete. Raises DataLoss if its digest is wrong."""
        staged = (self._next or self.netmap).updated(update)
        self._next = staged
        if not update.caught_up:
            return False
        self._next = None
        self._refused = bool(update.digest) and staged.digest != update.digest
        if self._refused:
            raise DataLoss(
                f"the netmap of generation {update.generation} differs from the server's; requesting all of it"
            )
        self.netmap = staged
        return True
