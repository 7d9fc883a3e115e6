"""The overlay's device and port where firewalld runs: it rejects what comes in by a link of no zone that accepts.

Only what is running is changed, nothing permanent: a reload of firewalld loses it, and the runner's timer brings it
back. The bridge is left to Docker, which puts it into a zone of its own, and fails if it is in another.
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
        self._device = names.device
        self._program = program

    async def ensure(self, port: int) -> bool:
        """Makes all of it be there, `port` being the overlay's on UDP. Returns whether it was already.

        Raises Unavailable. Where firewalld does not run, there is nothing to do.
        """
        zones = await self._zones()
        if zones is None:
            return True
        if missing := self._device not in zones:
            await self._demand(f"--zone={_ZONE}", f"--add-interface={self._device}")
        if shut := not await self._is_open(port):
            await self._demand(f"--add-port={port}/udp")
        return not (missing or shut)

    async def remove(self, port: int) -> None:
        """Removes all of it; what is gone is no error."""
        zones = await self._zones()
        if zones is None:
            return
        if zones.get(self._device) == _ZONE:
            await self._demand(f"--zone={_ZONE}", f"--remove-interface={self._device}")
        if await self._is_open(port):
            await self._demand(f"--remove-port={port}/udp")

    async def _zones(self) -> dict[str, str] | None:
        """Zones by link; None if firewalld does not run. Each question costs a third of a second of a processor."""
        if shutil.which(self._program) is None:
            return None
        answer = await run(self._program, "--get-active-zones")
        if answer.code != 0:
            return None
        zones: dict[str, str] = {}
        zone = ""
        for line in answer.out.splitlines():
            key, _, value = line.strip().partition(": ")
            if not line.startswith(" "):
                zone = line.split()[0]  # "public (default)", from version 2 on
            elif key == "interfaces":
                zones |= dict.fromkeys(value.split(), zone)
        return zones

    async def _is_open(self, port: int) -> bool:
        """In the zone that links are in by default. "no" comes with an exit code that is no failure."""
        return (await run(self._program, f"--query-port={port}/udp")).code == 0

    async def _demand(self, *command: str) -> None:
        answer: Answer = await run(self._program, *command)
        if answer.code != 0:
            raise Unavailable(
                f"firewalld refused {' '.join(command)}: {answer.why}; see {self._program} --list-all",
                reason="FILTER_REFUSED",
            )
