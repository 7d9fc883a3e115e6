"""Debian's sshd in a session beside the agent, and what a client learns from either (tests/e2e/access).

The commands, and what is meant to differ, are those of the agent's own test (tunnel/sshd/testdata).
"""

from __future__ import annotations

import asyncio
import io
import re
import stat
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import asyncssh

from tests.support.images import libraries
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from tests.e2e.system import System

SSHD: Final = Path("/usr/sbin/sshd")
PAM: Final = Path("/etc/pam.d/sshd")
PORT: Final = 2200
_TESTDATA: Final = Path("tunnel/sshd/testdata")
_START: Final = f"""#!/bin/sh
mkdir -p /run/sshd
exec /usr/sbin/sshd -f /etc/ssh/sshd_config.test -p {PORT}
"""
_CONFIG: Final = """ListenAddress 127.0.0.1
HostKey /etc/ssh/test_host_key
AuthorizedKeysFile /etc/ssh/test_keys
PermitRootLogin yes
StrictModes no
UsePAM yes
PidFile none
AcceptEnv LANG LC_*
Subsystem sftp internal-sftp
PrintMotd no
PrintLastLog no
MaxSessions 100
"""
_PREPARE: Final = """
tar -xf - -C /
id sshd 2>/dev/null || useradd --system --home /run/sshd --shell /usr/sbin/nologin sshd
useradd --create-home --shell /bin/bash ann && groupadd staff2 && usermod -aG staff2 ann
passwd -d root >/dev/null; usermod -p '*' root; usermod -p '*' ann
echo 'FROM_ETC=yes
export QUOTED="two words"' >> /etc/environment
"""
OPEN_FILES: Final = re.compile(r"(open files \(-n\)|Max open files) +\d+(?: +\d+)?")
"""Differs in `limits`: a login through the agent has the session's own limit (--open-files, else Docker's), as every
process in it; pam_limits lowers the soft one of sshd's logins to 1024, for programs that use select(2)."""
SENT: Final = {"LC_TIME": "de_DE.UTF-8", "LC_PAPER": "POSIX", "LANG": "C"}


def written(root: Path, name: str) -> list[str]:
    """The lines of a file of the agent's test that are no comments."""
    lines = (root / _TESTDATA / name).read_text().strip().split("\n")
    return [line for line in lines if not line.startswith("#")]


def install(system: System, name: str) -> None:
    """Puts this machine's sshd into a session, as a service that starts with it, and starts the session again."""
    key = system.home / "host_key"
    system.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", dereference=True) as archive:
        for file in (SSHD, *libraries(SSHD), PAM):
            archive.add(file, str(file).lstrip("/"))
        public = system.key().with_suffix(".pub").read_bytes()
        for path, content, mode in (
            ("etc/ssh/test_host_key", key.read_bytes(), 0o600),
            ("etc/ssh/test_keys", public, 0o644),
            ("etc/ssh/sshd_config.test", _CONFIG.encode(), 0o644),
            ("etc/netvps/start.d/sshd", _START.encode(), 0o755),
        ):
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), mode
            archive.addfile(entry, io.BytesIO(content))
    system.ssh(name, _PREPARE, input=buffer.getvalue())
    system.netvps("restart", name)


class Server:
    """One of the two servers, as a client sees it."""

    def __init__(self, connection: asyncssh.SSHClientConnection) -> None:
        self._connection = connection

    async def shown(self, command: str, *, terminal: bool) -> dict[str, str]:
        """What a login shows of itself, in lines "NAME: VALUE" and "env NAME=VALUE"."""
        code, signal, out, err = await self.ended(command, terminal=terminal)
        assert (code, signal) == (0, None), err
        found: dict[str, str] = {}
        for line in (out + err).splitlines():
            end = min([at for at in (line.find(":"), line.find("=")) if at >= 0], default=len(line))
            found[line[:end]] = found.get(line[:end], "") + line[end:]
        return found

    async def ended(self, command: str, *, terminal: bool) -> tuple[Any, ...]:
        """How a command ends that gets a line of input, and all that it writes."""
        how: dict[str, Any] = {"term_type": "vt220", "term_size": (80, 24)} if terminal else {}
        async with asyncio.timeout(PATIENCE), self._connection.create_process(command, env=SENT, **how) as process:
            if not terminal:
                with suppress(BrokenPipeError):  # it ended without reading
                    process.stdin.write("input\n")
                    process.stdin.write_eof()
            ran = await process.wait()
        return ran.exit_status, ran.exit_signal and ran.exit_signal[:2], ran.stdout, ran.stderr

    async def modes(self) -> list[tuple[str, str, int, int]]:
        """Modes and owners of what sftp makes in a new folder of the home.

        Left out is what differs: sshd lists "." and ".."; the agent's library sets a setuid bit by chmod only, and not
        when a file is opened.
        """
        async with self._connection.start_sftp_client() as sftp:
            await sftp.mkdir("t")
            for name, mode in (("file", None), ("open", 0o640), ("closed", 0o000), ("changed", 0o777)):
                how = asyncssh.SFTPAttrs() if mode is None else asyncssh.SFTPAttrs(permissions=mode)
                async with sftp.open(f"t/{name}", "w", how) as file:
                    await file.write("x")
            await sftp.chmod("t/changed", 0o6604)
            await sftp.mkdir("t/folder", asyncssh.SFTPAttrs(permissions=0o1777))
            found = [(str(entry.filename), entry.attrs) for entry in await sftp.readdir("t")]
            answer = [
                (name, stat.filemode(attrs.permissions or 0), attrs.uid or 0, attrs.gid or 0)
                for name, attrs in found
                if name not in {".", ".."}
            ]
            await sftp.rmtree("t")
            return sorted(answer)
