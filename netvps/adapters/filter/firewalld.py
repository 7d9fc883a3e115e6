"""The overlay's links and port where firewalld runs: it rejects what comes in by a link of no zone that accepts.

Only what is running is changed, nothing permanent: a reload of firewalld loses it, and the runner's timer brings it
back. Docker puts the bridges of its networks into a zone of its own; a link that is in a zone stays there.
"""

from __future__ import annotations

import shutil

from netvps.adapters.commands import Answer, run
from netvps.domain.overlay.links import OBJECT_NAMES, ObjectNames
from netvps.errors import Unavailable

_ZONE = "trusted"


class Firewalld:
    """firewalld of this machine; `program` is its client."""

    def __init__(self, names: ObjectNames = OBJECT_NAMES, program: str = "firewall-cmd") -> None:
        self._links = (names.device, names.bridge)
        self._program = program

    async def ensure(self, port: int) -> bool:
        """Makes all of it be there, `port` being the overlay's on UDP. Returns whether it was already.

        Raises Unavailable. Where firewalld does not run, there is nothing to do.
        """
        if not await self._runs():
            return True
        missing = [link for link in self._links if not await self._ask(f"--get-zone-of-interface={link}")]
        for link in missing:
            await self._demand(f"--zone={_ZONE}", f"--add-interface={link}")
        if opened := await self._ask(f"--query-port={port}/udp") != "yes":
            await self._demand(f"--add-port={port}/udp")
        return not (missing or opened)

    async def remove(self, port: int) -> None:
        """Removes all of it; what is gone is no error."""
        if not await self._runs():
            return
        for link in self._links:
            if await self._ask(f"--get-zone-of-interface={link}") == _ZONE:
                await self._demand(f"--zone={_ZONE}", f"--remove-interface={link}")
        if await self._ask(f"--query-port={port}/udp") == "yes":
            await self._demand(f"--remove-port={port}/udp")

    async def _runs(self) -> bool:
        return shutil.which(self._program) is not None and await self._ask("--state") == "running"

    async def _ask(self, question: str) -> str:
        """Its answer; "no" and "no zone" come with an exit code that is no failure."""
        answer = await run(self._program, question)
        return answer.out.strip() if answer.code == 0 else ""

    async def _demand(self, *command: str) -> None:
        answer: Answer = await run(self._program, *command)
        if answer.code != 0:
            raise Unavailable(
                f"firewalld refused {' '.join(command)}: {answer.why}; see {self._program} --list-all",
                reason="FILTER_REFUSED",
            )
