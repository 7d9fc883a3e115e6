"""Removes Docker's resolver NAT (127.0.0.11) from sessions that do not use it.

Docker redirects port 53 of 127.0.0.11 to its resolver by rules in the container's network namespace. While any such
rule exists, the kernel tracks the connections of every packet in there. So the rules are removed from sessions that use
the runner's name server (docs/adr/0016-no-nat-in-sessions.md). Only tables with the names that Docker uses are removed;
nothing else creates rules in there, as sessions lack CAP_NET_ADMIN.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from netvps.adapters.commands import run
from netvps.errors import NetvpsError

_PROC: Final = Path("/proc")
_OWN: Final = Path("/proc/self/ns/net")
_NFT: Final = "".join(f"add table ip {table}\ndelete table ip {table}\n" for table in ("nat", "docker-dns"))
"""Tables of iptables-nft, and of Docker 29 and later, which uses nftables itself."""
_LEGACY: Final = "*nat\nCOMMIT\n"
"""Empties the legacy iptables table, which itself can only be removed with the kernel module."""


@contextmanager
def opened(pid: int, proc: Path = _PROC) -> Iterator[int | None]:
    """Opens the network namespace of a process; None if that fails or if it is our own.

    The open descriptor keeps naming that namespace, even if the process ends and its pid is reused.
    """
    try:
        namespace = os.open(proc / str(pid) / "ns/net", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield None if os.path.samestat(os.fstat(namespace), _OWN.stat()) else namespace
    finally:
        os.close(namespace)


async def remove_nat(namespace: int) -> str:
    """Removes the rules from this namespace; idempotent. Returns why that failed, or ''."""
    enter = ("nsenter", f"--net=/proc/{os.getpid()}/fd/{namespace}")
    restore = "iptables-legacy-restore" if shutil.which("iptables-legacy-restore") else "iptables-restore"
    try:
        answers = [await run(*enter, "nft", "-f", "-", stdin=_NFT)]
        # Read from /proc, as `iptables` would create the legacy table by looking at it.
        tables = await run(*enter, "cat", "/proc/thread-self/net/ip_tables_names")
        if "nat" in tables.out.split():
            answers.append(await run(*enter, restore, "-w", "5", stdin=_LEGACY))
    except NetvpsError as error:
        return error.message
    return next((answer.why for answer in answers if answer.code), "")
