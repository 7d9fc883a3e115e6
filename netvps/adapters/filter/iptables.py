"""Adds accepts for the overlay to iptables, where Docker, ufw or an administrator drop by policy in FORWARD.

An accept in a table of nftables does not end a packet's way through iptables' tables, and vice versa, so these accepts
override nothing: what the packet filter drops stays dropped. They are in chains of our own, each reached by one jump.

With Docker, the jump is in DOCKER-USER, which is evaluated first, and accepts only traffic that stays on the overlay.
Traffic to the outside is left to Docker, which isolates its networks from each other and then accepts it.
"""

from __future__ import annotations

import shutil

import structlog

from netvps.adapters.commands import Answer, run
from netvps.domain.overlay.kernel.links import OBJECT_NAMES, ObjectNames
from netvps.errors import Unavailable

log = structlog.get_logger()
_DOCKER = "DOCKER-USER"
_LOCK_SECONDS = "5"


class Iptables:
    """The accepts in one network namespace; `prefix` is put before each command."""

    def __init__(
        self, names: ObjectNames = OBJECT_NAMES, prefix: tuple[str, ...] = (), program: str = "iptables"
    ) -> None:
        self._names = names
        self._prefix = prefix
        self._program = program
        self._forward, self._input = (f"{names.table.upper()}-{hook}" for hook in ("FORWARD", "INPUT"))

    async def ensure(self, port: int) -> bool:
        """Adds what is missing; `port` is the overlay's UDP port. Returns whether nothing was missing.

        Does nothing where iptables is not installed: then it drops nothing. Raises Unavailable.
        """
        if not self._is_there():
            return True
        found = await self._list()
        rules, jumps = self._rules(port, docker=f"-N {_DOCKER}" in found), self._jumps(found)
        if _ours(found, self._forward, self._input) == rules and jumps == self._wanted_jumps(found):
            return True
        wanted = self._wanted_jumps(found)
        chains = [f":{chain} - [0:0]" for chain in (self._forward, self._input)]  # creates or empties them
        removed = [f"-D{jump.removeprefix('-A')}" for jump in jumps]
        placed = [f"-I{jump.removeprefix('-A')}" for jump in wanted]
        await self._restore([*chains, *rules, *removed, *placed])
        return False

    async def remove(self) -> None:
        """Removes what `ensure` added; idempotent."""
        if not self._is_there():
            return
        found = await self._list()
        ours = [chain for chain in (self._forward, self._input) if f"-N {chain}" in found]
        removed = [f"-D{jump.removeprefix('-A')}" for jump in self._jumps(found)]
        if ours:
            await self._restore([*removed, *(f"-F {chain}" for chain in ours), *(f"-X {chain}" for chain in ours)])

    def _is_there(self) -> bool:
        return shutil.which(self._program) is not None

    def _rules(self, port: int, *, docker: bool) -> list[str]:
        """Returns the rules in the form that `iptables -S` prints."""
        device, bridge = self._names.device, self._names.bridge
        forward = [f"-i {device} -o {bridge}", f"-i {bridge} -o {device}", f"-i {bridge} -o {bridge}"]
        outside = [f"-i {bridge}", f"-o {bridge} -m conntrack --ctstate RELATED,ESTABLISHED"]
        names = [f"-i {bridge} -p {protocol} -m {protocol} --dport 53" for protocol in ("udp", "tcp")]
        answers = [f"-i {link} -p icmp" for link in (bridge, device)]
        answers.append(f"-i {device} -p tcp -m tcp --dport {port}")  # the self-test of other runners
        tunnel = f"-p udp -m udp --dport {port}"  # first: most packets match it
        return [
            *(f"-A {self._forward} {match} -j ACCEPT" for match in (forward if docker else forward + outside)),
            *(f"-A {self._input} {match} -j ACCEPT" for match in (tunnel, *names, *answers)),
        ]

    def _wanted_jumps(self, found: list[str]) -> list[str]:
        hook = _DOCKER if f"-N {_DOCKER}" in found else "FORWARD"
        return sorted([f"-A {hook} -j {self._forward}", f"-A INPUT -j {self._input}"])

    def _jumps(self, found: list[str]) -> list[str]:
        return sorted(line for line in found if line.endswith((f" -j {self._forward}", f" -j {self._input}")))

    async def _list(self) -> list[str]:
        answer = await run(*self._prefix, self._program, "-w", _LOCK_SECONDS, "-S")
        self._demand(answer)
        return answer.out.splitlines()

    async def _restore(self, lines: list[str]) -> None:
        """Applies lines in one transaction; leaves all other rules alone."""
        text = "".join(f"{line}\n" for line in ("*filter", *lines, "COMMIT"))
        command = (*self._prefix, f"{self._program}-restore", "--noflush", "-w", _LOCK_SECONDS)
        self._demand(await run(*command, stdin=text))

    def _demand(self, answer: Answer) -> None:
        if answer.code != 0:
            raise Unavailable(
                f"{self._program} refused the overlay's accepts: {answer.why}; check its rules ({self._program} -S)",
                reason="FILTER_REFUSED",
            )


def _ours(found: list[str], *chains: str) -> list[str]:
    return [line for chain in chains for line in found if line.startswith(f"-A {chain} ")]
