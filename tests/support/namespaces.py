"""Network namespaces for tests: made, entered by this thread, removed."""

from __future__ import annotations

import ctypes
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Namespace:
    name: str

    def run(self, *command: str, check: bool = True, timeout: float = 30, stdin: str = "") -> str:
        """Runs a command in it; returns what it printed."""
        answer = subprocess.run(
            ["nsenter", f"--net=/run/netns/{self.name}", *command],
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            input=stdin,
        )
        assert answer.returncode == 0 or not check, f"{' '.join(command)}: {answer.stderr}"
        return answer.stdout

    def ip(self, *arguments: str, check: bool = True) -> str:
        """`ip` in it."""
        return self.run("ip", *arguments, check=check)

    def links(self) -> list[str]:
        """Their names, with those of other ends: what else there is of them may still be settling."""
        return [line.split()[0] for line in self.ip("-brief", "link").splitlines()]

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread, and all that it starts, is in the namespace within the block."""
        with Path("/proc/thread-self/ns/net").open() as before, Path(f"/run/netns/{self.name}").open() as there:
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(before.fileno())


@contextmanager
def namespace(prefix: str = "nvt") -> Iterator[Namespace]:
    """A new one, gone after the block."""
    made = Namespace(f"{prefix}{secrets.token_hex(4)}")
    subprocess.run(["ip", "netns", "add", made.name], check=True, timeout=30)
    try:
        made.ip("link", "set", "lo", "up")
        yield made
    finally:
        subprocess.run(["ip", "netns", "delete", made.name], check=True, timeout=30)


@contextmanager
def joined(count: int, prefix: str = "nvt") -> Iterator[list[Namespace]]:
    """Namespaces with addresses 192.0.2.1, .2, … on eth0, on a bridge in a further namespace."""
    with namespace(prefix) as switch:
        switch.ip("link", "add", "br0", "type", "bridge")
        switch.ip("link", "set", "br0", "up")
        yield from _hosts(switch, count, prefix)


def _hosts(switch: Namespace, count: int, prefix: str, made: tuple[Namespace, ...] = ()) -> Iterator[list[Namespace]]:
    if len(made) == count:
        yield list(made)
        return
    with namespace(prefix) as host:
        number = len(made) + 1
        switch.ip("link", "add", f"port{number}", "type", "veth", "peer", "name", "eth0", "netns", host.name)
        switch.ip("link", "set", f"port{number}", "master", "br0", "up")
        host.ip("address", "add", f"192.0.2.{number}/24", "dev", "eth0")
        host.ip("link", "set", "eth0", "up")
        yield from _hosts(switch, count, prefix, (*made, host))


def enter(file: Path) -> None:
    """This thread is in the namespace of that file from now on."""
    with file.open() as there:
        _setns(there.fileno())


def _setns(handle: int) -> None:
    if _LIBC.setns(handle, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
