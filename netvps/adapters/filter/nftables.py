"""Loads rules with `nft` and checks whether they are still loaded: other programs flush tables, too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from netvps.adapters.commands import Answer, run
from netvps.adapters.filter.listed import Content, found, listed, wanted
from netvps.adapters.filter.rules.nft import Edit, Elements, Found, Ruleset
from netvps.adapters.netlink.wire import Refusal
from netvps.errors import Unavailable

log = structlog.get_logger()
NEEDS = "check that the kernel has nf_tables with families inet and bridge, and that nft is 0.9.6 or later (nft -v)"


class Nftables:
    """Keeps one ruleset loaded in one network namespace; `nft` is the command with any prefix."""

    def __init__(
        self,
        nft: tuple[str, ...] = ("nft",),
        generation: Callable[[], int | None] = lambda: None,
        batch: Callable[[Sequence[Elements], int], Refusal | None] | None = None,
    ) -> None:
        """`generation` returns the generation of nftables in that namespace.

        `batch` changes set elements there if nftables is at the given generation; None: `nft` makes these changes, too.
        """
        self._nft = nft
        self._generation = generation
        self._batch = batch
        self._left: int | None = None
        """The generation at which the kernel is known to hold what was loaded last; None: unknown."""
        self._loaded: Callable[[], Ruleset] | None = None
        """Builds the ruleset that is loaded; None: unknown."""
        self._turn = asyncio.Lock()

    async def load(self, rules: Ruleset) -> None:
        """Replaces what was loaded before in one transaction, all or none; established connections continue.

        Raises ConfigError if there is no nft, TimedOut, or Unavailable if the kernel refuses.
        """
        async with self._turn:
            before, self._loaded = self._loaded, None
            if before is None or not await self._changed(before, rules):
                await self._load_all(rules)
            self._loaded = lambda: rules

    async def add(self, rules: Ruleset) -> None:
        """Adds rules to those in the kernel, which may be newer, and removes none. Raises as `load` does."""
        async with self._turn:
            self._loaded = None
            there = {name: await self._found(name) for name in rules.tables}
            answer = await self._feed(await asyncio.to_thread(rules.onto, there))
            if answer.code == 0:
                return
            if not all(found.chains for found in there.values()):
                await self._load_all(rules)
            else:
                log.warning("packet filter kept as found until the netmap is known", why=answer.why)

    async def change(self, edit: Edit, rules: Callable[[], Ruleset]) -> bool:
        """Applies an edit to the ruleset loaded last, in one transaction; `rules` builds the result.

        Returns False if that ruleset is not in the kernel any more, or never was: call `load`. Raises ConfigError if
        there is no nft, or TimedOut.
        """
        async with self._turn:
            before, self._loaded = self._loaded, None
            if before is None or not await self._made(edit):
                return False
            self._loaded = rules
            return True

    async def loaded(self) -> bool:
        """Reports whether what was loaded last is still there; if not, the next load replaces everything.

        An unchanged generation proves it without reading the tables.
        """
        async with self._turn:
            if self._loaded is None:
                return False
            now = await asyncio.to_thread(self._generation)
            if now is not None and now == self._left:
                return True
            rules = await asyncio.to_thread(self._loaded)
            if await self._is_all(rules):
                return True
            self._loaded = None
            return False

    async def remove(self, names: Iterable[str]) -> None:
        """Removes tables by family and name; missing ones are ignored."""
        async with self._turn:
            self._loaded = None
            self._demand(await self._feed("".join(f"add table {name}\ndelete table {name}\n" for name in names)))

    async def refusal(self, rules: Ruleset) -> str:
        """Returns why these rules could not be loaded here; '' if they could. Changes nothing."""
        answer = await run(*self._nft, "--check", "-f", "-", stdin=rules.text)
        return "" if answer.code == 0 else answer.why

    async def _load_all(self, rules: Ruleset) -> None:
        """Replaces whatever is loaded, in the order that disturbs packets in flight least."""
        for emptied in (False, True):
            there = {name: await self._found(name) for name in rules.tables}
            text = await asyncio.to_thread(rules.over, there, emptied=emptied)
            if (await self._feed(text)).code == 0 and await self._is_all(rules):
                return
        self._demand(await self._feed(rules.text))

    async def _is_all(self, rules: Ruleset) -> bool:
        now = await asyncio.to_thread(self._generation)
        for name, table in rules.tables.items():
            if await self._content(name) != await asyncio.to_thread(wanted, table):
                return False
        self._left = now
        return True

    async def _changed(self, before: Callable[[], Ruleset], rules: Ruleset) -> bool:
        """Applies the difference; False if the kernel does not hold what it held before."""
        # Off the loop: the comparison may cover a hundred thousand elements.
        return await self._made(await asyncio.to_thread(lambda: rules.changes_from(before())))

    async def _made(self, edit: Edit) -> bool:
        """Applies an edit, by `batch` or `nft`; False if the kernel does not hold what the edit assumes."""
        if not edit.text or await self._sent(edit):
            return True
        answer = await self._feed(edit.text)
        if answer.code != 0:
            log.warning("packet filter was changed by another program; loading all of it", why=answer.why)
        return answer.code == 0

    async def _sent(self, edit: Edit) -> bool:
        """Tries the edit without `nft`, whose time grows with the size of the ruleset; reports whether that worked."""
        before = self._left
        if before is None or edit.elements is None or self._batch is None:
            return False
        self._left = None
        if why := await asyncio.to_thread(self._batch, edit.elements, before):
            log.debug("packet filter: change left to nft", why=str(why))
            self._left = before  # for `_feed` to compare with
            return False
        self._left = before + 1
        return True

    async def _feed(self, text: str) -> Answer:
        """Runs one transaction. If it was the only one since a known generation, the next generation is known, too."""
        before, self._left = self._left, None
        answer = await run(*self._nft, "-f", "-", stdin=text)
        if before is not None and answer.code == 0 and await asyncio.to_thread(self._generation) == before + 1:
            self._left = before + 1
        return answer

    def _demand(self, answer: Answer) -> None:
        if answer.code != 0:
            raise Unavailable(f"cannot load the packet filter: {answer.why}; {NEEDS}", reason="FILTER_REFUSED")

    async def _found(self, table: str) -> Found:
        answer = await run(*self._nft, "-j", "-t", "list", "table", *table.split())
        return found(answer.out) if answer.code == 0 else Found()

    async def _content(self, table: str) -> Content:
        answer = await run(*self._nft, "-j", "list", "table", *table.split())
        return await asyncio.to_thread(listed, answer.out) if answer.code == 0 else {}
