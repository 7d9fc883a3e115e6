"""The agent and Debian's sshd in one session: what a login shows, how commands end, and the files of sftp."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncssh
import pytest

from tests.e2e import sidebyside
from tests.e2e.sidebyside import OPEN_FILES, PORT, Server, written
from tests.e2e.system import System, unique

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
SIGNALS = (1, 2, 3, 6, 9, 10, 11, 13, 14, 15, 34)


async def test_a_login_is_that_of_debians_sshd(ui_system: System, debian: str, root: Path) -> None:
    if not (sidebyside.SSHD.exists() and sidebyside.PAM.exists()):
        pytest.skip("needs openssh-server")
    system, name = ui_system, unique("s")
    await asyncio.to_thread(system.netvps, "create", name, "--image", debian, "--stop-grace", "1s")
    try:
        await asyncio.to_thread(sidebyside.install, system, name)
        for user in ("root", "ann"):
            async with _both(system, name, user) as (ours, theirs):
                await _compare(root, ours, theirs)
    finally:
        await asyncio.to_thread(system.netvps, "rm", "--yes", name)


@asynccontextmanager
async def _both(system: System, name: str, user: str) -> AsyncIterator[tuple[Server, Server]]:
    how = {"client_keys": [str(system.key())], "known_hosts": None}
    async with (
        asyncssh.connect("127.0.0.1", system.ports["ssh"], username=f"{name}+{user}", **how) as ours,
        asyncssh.connect("127.0.0.1", PORT, username=user, tunnel=ours, **how) as theirs,
    ):
        yield Server(ours), Server(theirs)


async def _compare(root: Path, ours: Server, theirs: Server) -> None:
    asked = "\n".join(written(root, "login.sh"))
    meant = {line.partition(": ")[0] for line in written(root, "differs")}
    ends = [*written(root, "ends.sh"), *(f"ulimit -c 0; kill -{number} $$; exit 3" for number in SIGNALS)]
    for terminal in (False, True):
        mine, debians = [await server.shown(asked, terminal=terminal) for server in (ours, theirs)]
        assert OPEN_FILES.search(mine["limits"])
        for shown in (mine, debians):
            shown["limits"] = OPEN_FILES.sub("", shown["limits"])
        names = {one for one in mine.keys() | debians.keys() if one.removeprefix("env ") not in meant}
        assert {one: mine.get(one) for one in names} == {one: debians.get(one) for one in names}
        how = [await asyncio.gather(*(each.ended(one, terminal=terminal) for one in ends)) for each in (ours, theirs)]
        assert dict(zip(ends, how[0], strict=True)) == dict(zip(ends, how[1], strict=True))
    assert await ours.modes() == await theirs.modes()
