"""A bound on how many of something there are at once, and on how many of them one address has."""

from __future__ import annotations

from collections import Counter


class Shares:
    """At most `total` at once, and at most `each` for one address."""

    def __init__(self, *, total: int, each: int) -> None:
        self._total = total
        self._each = each
        self._held: Counter[str] = Counter()
        self._sum = 0

    def take(self, address: str) -> bool:
        """Takes one, if it is to be had; give it back with `give`."""
        if self._sum >= self._total or self._held[address] >= self._each:
            return False
        self._held[address] += 1
        self._sum += 1
        return True

    def give(self, address: str) -> None:
        """Gives one back."""
        self._sum -= 1
        self._held[address] -= 1
        if not self._held[address]:
            del self._held[address]
