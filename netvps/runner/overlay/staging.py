"""Updates of the netmap on their way to be a whole one: half a map is acted upon by nobody."""

from __future__ import annotations

from netvps.domain.overlay.netmap import Netmap, NetmapUpdate
from netvps.errors import DataLoss


class Staging:
    """Holds the last whole map, and what has come since."""

    def __init__(self, netmap: Netmap) -> None:
        self.netmap = netmap
        self._next: Netmap | None = None
        self._refused = False

    @property
    def generation(self) -> int:
        """To resume from; 0 where all of it is needed."""
        return 0 if self._refused else self.netmap.generation

    def begin(self) -> None:
        """A new connection: what an earlier one left half done will come again."""
        self._next = None

    def take(self, update: NetmapUpdate) -> bool:
        """Adds an update; True if with it the map is whole. Raises DataLoss if it is not what it should be by now."""
        staged = (self._next or self.netmap).updated(update)
        self._next = staged
        if not update.caught_up:
            return False
        self._next = None
        self._refused = bool(update.digest) and staged.digest != update.digest
        if self._refused:
            raise DataLoss(f"the netmap of generation {update.generation} is not what the server has; asking for all")
        self.netmap = staged
        return True
