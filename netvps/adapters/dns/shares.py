"""Bounds the number of concurrent items, in total and per address."""

from __future__ import annotations

from collections import Counter


class Shares:
    """A limit of `total` items, and of `each` per address."""

    def __init__(self, *, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._held: Counter[str] = Counter()
        self._sum = 0

    def acquire(self, address: str) -> bool:
        """Takes a slot if one is free; return it with `give`."""
        if self._sum >= self._total or self._held[address] >= self._each:
            return False
        self._held[address] += 1
        self._sum += 1
        return True

    def release(self, address: str) -> None:
        """Returns a slot."""
        self._sum -= 1
        self._held[address] -= 1
        if not self._held[address]:
            del self._held[address]
