"""Loads rules into the kernel with `nft`, and looks whether they are still there: others flush tables, too."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable

import structlog

from netvps.adapters.commands import Answer, run
from netvps.domain.overlay.nft import Ruleset
from netvps.errors import Unavailable

log = structlog.get_logger()
NEEDS = "whether the kernel has nf_tables with families inet and bridge, and nft is of version 0.9.6 or later"


class Nftables:
    """Keeps one ruleset in the kernel of one network namespace; `nft` is the command, with what comes before it."""

    def __init__(self, nft: tuple[str, ...] = ("nft",)) -> None:
        self._nft = nft
        self._loaded: Callable[[], Ruleset] | None = None
        """Makes what is there; None: that is not known."""
        self._turn = asyncio.Lock()

    async def load(self, rules: Ruleset) -> None:
        """Puts these in place of what was loaded before, in one transaction: all of them or none.

        Connections go on. Raises ConfigError if there is no nft, TimedOut, or Unavailable if the kernel refuses.
        """
        async with self._turn:
            before, self._loaded = self._loaded, None
            if before is None or not await self._changed(before, rules):
                self._demand(await self._feed(rules.text))
            self._loaded = lambda: rules

    async def change(self, text: str, rules: Callable[[], Ruleset]) -> bool:
        """Changes what was loaded last by input of `nft -f -`, in one transaction; `rules` makes what it comes to.

        False if that is not there any more, or was never: load all. Raises ConfigError if there is no nft, or TimedOut.
        """
        async with self._turn:
            before, self._loaded = self._loaded, None
            if before is None or not await self._fed(text):
                return False
            self._loaded = rules
            return True

    async def loaded(self) -> bool:
        """Whether all that was loaded last is there. If not, the next load is of everything."""
        async with self._turn:
            if self._loaded is None:
                return False
            rules = await asyncio.to_thread(self._loaded)
            sizes = [await self._sizes(name) for name in rules.tables]
            if sizes == [_sizes(rules, name) for name in rules.tables]:
                return True
            self._loaded = None
            return False

    async def remove(self, names: Iterable[str]) -> None:
        """Removes tables by family and name; what is gone is no error."""
        async with self._turn:
            self._loaded = None
            self._demand(await self._feed("".join(f"add table {name}\ndelete table {name}\n" for name in names)))

    async def refusal(self, rules: Ruleset) -> str:
        """Why these rules could not be loaded here; '' if they could. Nothing is changed."""
        answer = await run(*self._nft, "--check", "-f", "-", stdin=rules.text)
        return "" if answer.code == 0 else answer.why

    async def _changed(self, before: Callable[[], Ruleset], rules: Ruleset) -> bool:
        """False if the kernel does not have what it had before."""
        # There may be a hundred thousand elements.
        return await self._fed(await asyncio.to_thread(lambda: rules.changes_from(before())))

    async def _fed(self, changes: str) -> bool:
        """The same."""
        if not changes:
            return True
        answer = await self._feed(changes)
        if answer.code != 0:
            log.warning("packet filter was changed by somebody else; loading all of it", why=answer.why)
        return answer.code == 0

    async def _feed(self, text: str) -> Answer:
        return await run(*self._nft, "-f", "-", stdin=text)

    def _demand(self, answer: Answer) -> None:
        if answer.code != 0:
            raise Unavailable(
                f"the packet filter could not be loaded: {answer.why}; see {NEEDS}", reason="FILTER_REFUSED"
            )

    async def _sizes(self, table: str) -> Counter[str]:
        """How many rules each chain has, and how many elements each set: what a flush or a deletion changes."""
        answer = await run(*self._nft, "-j", "list", "table", *table.split())
        return await asyncio.to_thread(_listed, answer.out) if answer.code == 0 else Counter()


def _sizes(rules: Ruleset, name: str) -> Counter[str]:
    table = rules.tables[name]
    sizes = {f"chain {name}": len(chain.rules) for name, chain in table.chains.items()}
    return Counter(sizes | {f"set {name}": len(kept.elements) for name, kept in table.sets.items()})


def _listed(text: str) -> Counter[str]:
    """Sizes by what `nft -j list table` says; see libnftables-json(5)."""
    sizes: Counter[str] = Counter()
    for item in json.loads(text)["nftables"]:
        for kind, value in item.items():
            if kind == "rule":
                sizes[f"chain {value['chain']}"] += 1
            elif kind in {"set", "map"}:
                sizes[f"set {value['name']}"] += len(value.get("elem", ()))
    return sizes
