"""Loads rules into the kernel with `nft`, and looks whether they are still there: others flush tables, too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from netvps.adapters.commands import Answer, run
from netvps.adapters.filter.listed import Content, found, listed, wanted
from netvps.adapters.netlink.wire import Refusal
from netvps.domain.overlay.nft import Edit, Elements, Found, Ruleset
from netvps.errors import Unavailable

log = structlog.get_logger()
NEEDS = "whether the kernel has nf_tables with families inet and bridge, and nft is of version 0.9.6 or later"


class Nftables:
    """Keeps one ruleset in the kernel of one network namespace; `nft` is the command, with what comes before it."""

    def __init__(
        self,
        nft: tuple[str, ...] = ("nft",),
        generation: Callable[[], int | None] = lambda: None,
        batch: Callable[[Sequence[Elements], int], Refusal | None] | None = None,
    ) -> None:
        """`generation` tells of that namespace how often nftables was changed there.

        `batch` changes elements of sets there, if nftables is of the generation given; None: `nft` does that, too.
        """
        self._nft = nft
        self._generation = generation
        self._batch = batch
        self._left: int | None = None
        """The generation that was our doing, or looked at since; None: that is not known."""
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
                await self._load_all(rules)
            self._loaded = lambda: rules

    async def add(self, rules: Ruleset) -> None:
        """Adds these to what is there, and takes nothing away: that may be newer. Raises what `load` does."""
        async with self._turn:
            self._loaded = None
            there = {name: await self._found(name) for name in rules.tables}
            answer = await self._feed(await asyncio.to_thread(rules.onto, there))
            if answer.code == 0:
                return
            if not all(found.chains for found in there.values()):
                await self._load_all(rules)
            else:
                log.warning("the packet filter stays as it was found, until the netmap is known", why=answer.why)

    async def change(self, edit: Edit, rules: Callable[[], Ruleset]) -> bool:
        """Changes what was loaded last, in one transaction; `rules` makes what it comes to.

        False if that is not there any more, or was never: load all. Raises ConfigError if there is no nft, or TimedOut.
        """
        async with self._turn:
            before, self._loaded = self._loaded, None
            if before is None or not await self._made(edit):
                return False
            self._loaded = rules
            return True

    async def loaded(self) -> bool:
        """Whether all that was loaded last is there. If not, the next load is of everything.

        Where nobody changed nftables since we did, or looked, the kernel says so at once.
        """
        async with self._turn:
            if self._loaded is None:
                return False
            now = await asyncio.to_thread(self._generation)
            if now is not None and now == self._left:
                return True  # nobody has changed anything since
            rules = await asyncio.to_thread(self._loaded)
            if await self._is_all(rules):
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

    async def _load_all(self, rules: Ruleset) -> None:
        """In place of whatever there is, with as little harm to packets on their way as that allows."""
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
        """False if the kernel does not have what it had before."""
        # There may be a hundred thousand elements.
        return await self._made(await asyncio.to_thread(lambda: rules.changes_from(before())))

    async def _made(self, edit: Edit) -> bool:
        """The same."""
        if not edit.text or await self._sent(edit):
            return True
        answer = await self._feed(edit.text)
        if answer.code != 0:
            log.warning("packet filter was changed by somebody else; loading all of it", why=answer.why)
        return answer.code == 0

    async def _sent(self, edit: Edit) -> bool:
        """Whether it was made without `nft`, which takes longer the more there is."""
        before = self._left
        if before is None or edit.elements is None or self._batch is None:
            return False
        self._left = None
        if why := await asyncio.to_thread(self._batch, edit.elements, before):
            log.debug("packet filter is left to nft", why=str(why))
            self._left = before  # for `_feed` to compare with
            return False
        self._left = before + 1
        return True

    async def _feed(self, text: str) -> Answer:
        """One transaction: if it was the only one meanwhile, and what was before it was ours, so is all of it now."""
        before, self._left = self._left, None
        answer = await run(*self._nft, "-f", "-", stdin=text)
        if before is not None and answer.code == 0 and await asyncio.to_thread(self._generation) == before + 1:
            self._left = before + 1
        return answer

    def _demand(self, answer: Answer) -> None:
        if answer.code != 0:
            raise Unavailable(
                f"the packet filter could not be loaded: {answer.why}; see {NEEDS}", reason="FILTER_REFUSED"
            )

    async def _found(self, table: str) -> Found:
        answer = await run(*self._nft, "-j", "-t", "list", "table", *table.split())
        return found(answer.out) if answer.code == 0 else Found()

    async def _content(self, table: str) -> Content:
        answer = await run(*self._nft, "-j", "list", "table", *table.split())
        return await asyncio.to_thread(listed, answer.out) if answer.code == 0 else {}
