"""Docker's own resolver in a container, on 127.0.0.11: its NAT goes where nobody asks it.

Docker leads port 53 of 127.0.0.11 to its resolver by rules in the container's network namespace. While there are any,
the kernel tracks the connections of every packet in there. So they are taken away from sessions that ask the runner
for names (docs/adr/0016-no-nat-in-sessions.md). What goes has the names that Docker gives it; and nobody else makes
rules in there, for sessions are without CAP_NET_ADMIN.
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
"""Tables of iptables-nft, and of engines that use nftables themselves (from 29 on)."""
_LEGACY: Final = "*nat\nCOMMIT\n"
"""As much as all of the old iptables' table: it goes only with the kernel's module."""


@contextmanager
def opened(pid: int, proc: Path = _PROC) -> Iterator[int | None]:
    """The network namespace of a process; None if that cannot be had, or is ours.

    It is the same one all the time, also if the process ends and its number becomes another's.
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
    """Removes it from this namespace; what is gone is no error. Returns why it could not, or ''."""
    enter = ("nsenter", f"--net=/proc/{os.getpid()}/fd/{namespace}")
    restore = "iptables-legacy-restore" if shutil.which("iptables-legacy-restore") else "iptables-restore"
    try:
        answers = [await run(*enter, "nft", "-f", "-", stdin=_NFT)]
        # Asked there, and not by `iptables`: to look into the old table is to make it.
        tables = await run(*enter, "cat", "/proc/thread-self/net/ip_tables_names")
        if "nat" in tables.out.split():
            answers.append(await run(*enter, restore, "-w", "5", stdin=_LEGACY))
    except NetvpsError as error:
        return error.message
    return next((answer.why for answer in answers if answer.code), "")
