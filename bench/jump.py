"""A manual jump host: OpenSSH's server on a loopback port, and the ssh command line that goes through it."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import shutil
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bench.place import Place, free_ports, run, ssh_options

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONFIG: Final = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/jump_host_key
AuthorizedKeysFile {key}.pub
PidFile none
UsePAM no
StrictModes no
PermitRootLogin yes
MaxStartups 100
"""


@dataclass(frozen=True, slots=True)
class JumpHost:
    """A running jump host."""

    port: int
    pid: int
    key: Path

    def shell(self) -> list[str]:
        """Returns the command line of an ssh to the jump host itself."""
        user = pwd.getpwuid(os.getuid()).pw_name
        return ["ssh", *ssh_options(self.key), "-p", str(self.port), f"{user}@127.0.0.1"]

    def ssh(self, address: str) -> list[str]:
        """Returns the command line of an ssh to root at an address behind it; `-J` would not accept options."""
        user = pwd.getpwuid(os.getuid()).pw_name
        jump = shlex.join(["ssh", *ssh_options(self.key), "-p", str(self.port), "-W", "%h:%p", f"{user}@127.0.0.1"])
        return ["ssh", *ssh_options(self.key), "-o", f"ProxyCommand={jump}", f"root@{address}"]


@contextlib.contextmanager
def jump_host(place: Place) -> Iterator[JumpHost]:
    """Serves while the block runs. Raises RuntimeError if it does not start within 20 s."""
    (port,) = free_ports(1)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(place.folder / "jump_host_key"))
    config = place.folder / "jump_config"
    config.write_text(_CONFIG.format(port=port, folder=place.folder, key=place.key), encoding="utf-8")
    program = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin") or "sshd"
    log = place.folder / "jump.log"
    with log.open("wb") as output:
        process = subprocess.Popen([program, "-D", "-e", "-f", str(config)], stdout=output, stderr=output)
    try:
        _wait_for(port, process, log)
        yield JumpHost(port, process.pid, place.key)
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + 20
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the jump host does not start: {log.read_text(errors='replace')}")
        time.sleep(0.05)
