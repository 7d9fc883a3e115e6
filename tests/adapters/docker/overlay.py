"""The overlay's network in Docker, without the overlay: a bridge of a unique name, and a free subnet.

The subnet is outside the default pool: a netvps that runs on this machine filters the pool's addresses on every bridge.
"""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address

from netvps.domain.overlay.settings import bridge_address, session_addresses

POOL = "10.192.0.0/10"


@dataclass(frozen=True)
class OverlayNetwork:
    name: str
    subnet: str

    @property
    def bridge(self) -> str:
        return bridge_address(self.subnet)

    def address(self, number: int) -> str:
        return str(IPv4Address(session_addresses(self.subnet)[number]))

    def make(self) -> str:
        """Makes it in Docker; returns why not, if not."""
        options = {"bridge.name": self.name, "bridge.enable_ip_masquerade": "false"}
        given = [word for key, value in options.items() for word in ("-o", f"com.docker.network.{key}={value}")]
        command = ["docker", "network", "create", "--subnet", self.subnet, "--gateway", self.bridge, *given, self.name]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return answer.stderr if answer.returncode else ""

    def remove(self) -> None:
        subprocess.run(["docker", "network", "rm", self.name], check=True, stdout=subprocess.DEVNULL, timeout=60)


@contextmanager
def overlay_network() -> Iterator[OverlayNetwork]:
    """Gone afterwards. Tries subnets until one is free."""
    name = f"nvt{secrets.token_hex(4)}"
    for _ in range(20):
        made = OverlayNetwork(name, f"10.{192 + secrets.randbelow(64)}.{secrets.randbelow(256)}.0/24")
        refused = made.make()
        if not refused:
            break
        assert "overlaps" in refused, refused
    else:
        raise AssertionError("no free subnet")
    try:
        yield made
    finally:
        made.remove()
