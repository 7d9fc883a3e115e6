"""Opens firewalld for the overlay's device and port: it rejects what arrives on an interface of no accepting zone.

Changes the runtime configuration only. A reload of firewalld discards that, and the runner's timer restores it. The
bridge is left to Docker, which assigns it to a zone of its own and fails if it is in another.
"""

from __future__ import annotations

import shutil

from netvps.adapters.commands import Answer, run
from netvps.domain.overlay.kernel.links import OBJECT_NAMES, ObjectNames
from netvps.errors import Unavailable

_ZONE = "trusted"


class Firewalld:
    """firewalld of this machine; `program` is its command-line client."""

    def __init__(self, names: ObjectNames = OBJECT_NAMES, program: str = "firewall-cmd") -> None:
        self._device = names.device
        self._program = program

    async def ensure(self, port: int) -> bool:
        """Adds what is missing; `port` is the overlay's UDP port. Returns whether nothing was missing.

        Does nothing where firewalld does not run. Raises Unavailable.
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
        """Removes what `ensure` added; idempotent."""
        zones = await self._zones()
        if zones is None:
            return
        if zones.get(self._device) == _ZONE:
            await self._demand(f"--zone={_ZONE}", f"--remove-interface={self._device}")
        if await self._is_open(port):
            await self._demand(f"--remove-port={port}/udp")

    async def _zones(self) -> dict[str, str] | None:
        """Returns zones by interface; None if firewalld does not run. Each query costs about 0.3 s of CPU time."""
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
        """Queries the default zone. "no" comes with an exit code other than 0, which is no failure."""
        return (await run(self._program, f"--query-port={port}/udp")).code == 0

    async def _demand(self, *command: str) -> None:
        answer: Answer = await run(self._program, *command)
        if answer.code != 0:
            raise Unavailable(
                f"firewalld refused {' '.join(command)}: {answer.why}; check its zones ({self._program} --list-all)",
                reason="FILTER_REFUSED",
            )
