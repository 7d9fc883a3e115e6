"""What keeps away from `nft`, in the namespace of a runner of the lab."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from netvps.adapters.filter.batch import Batch
from netvps.adapters.filter.generation import generation
from netvps.adapters.filter.rules.nft import Elements
from netvps.adapters.netlink.wire import Refusal
from tests.adapters.filter.site.lab import Lab


class Own:
    """Whichever thread it is called in. Notes what was refused."""

    def __init__(self, hosts: Lab, runner: str) -> None:
        self._inside = partial(hosts.inside, runner)
        self._batch = Batch()
        self.refused: list[Refusal | None] = []

    def generation(self) -> int | None:
        with self._inside():
            return generation()

    def change(self, elements: Sequence[Elements], generation: int) -> Refusal | None:
        with self._inside():
            self.refused.append(self._batch.change(elements, generation))
        return self.refused[-1]

    def close(self) -> None:
        self._batch.close()
