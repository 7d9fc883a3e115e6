"""Use of a machine and of a network namespace, on recorded trees."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from netvps.adapters.proc import MachineUsage, machine_usage, network_bytes

HEAD = "Inter-|   Receive                            |  Transmit\n face |bytes    packets|bytes    packets\n"
LO = "    lo:  500  5 0 0 0 0 0 0  500  5 0 0 0 0 0 0\n"
ETH0 = "  eth0: 1000 10 0 0 0 0 0 0 2000 20 0 0 0 0 0 0\n"
VETH = "veth12: 4000 10 0 0 0 0 0 0 8000 20 0 0 0 0 0 0\n"
ROUTE = "Iface\tDestination\tGateway\n" + "veth12\t00000000\t010200C0\n" + "eth0\t000200C0\t00000000\n"
TICKS = os.sysconf("SC_CLK_TCK")
MACHINE = {
    "proc/stat": f"cpu  {3 * TICKS} {TICKS} {2 * TICKS} 99999 88888 {TICKS} 0 {TICKS} 77777 0\ncpu0 1 2 3\n",
    "proc/meminfo": "MemTotal:        8192 kB\nMemFree:          100 kB\nMemAvailable:    6144 kB\n",
    "proc/self/net/dev": HEAD + LO + ETH0 + VETH,
}


def grow(root: Path, tree: dict[str, str]) -> None:
    for name, content in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


@pytest.mark.parametrize(
    ("more", "network"),
    [
        ({"sys/class/net/eth0/device/vendor": "0x1af4"}, (1000, 2000)),
        ({"proc/self/net/route": ROUTE}, (4000, 8000)),
        ({}, (None, None)),
    ],
)
def test_use_of_a_machine(tmp_path: Path, more: dict[str, str], network: tuple[int | None, int | None]) -> None:
    grow(tmp_path, MACHINE | more)
    assert machine_usage(tmp_path) == MachineUsage(8.0, 2 << 20, *network)


@pytest.mark.parametrize("broken", ["proc/stat", "proc/meminfo"])
def test_use_of_an_unreadable_machine_is_unknown(tmp_path: Path, broken: str) -> None:
    grow(tmp_path, MACHINE | {broken: "?\n"})
    assert machine_usage(tmp_path) is None


def test_bytes_of_a_namespace_are_those_of_all_interfaces_but_loopback(tmp_path: Path) -> None:
    grow(tmp_path, {"proc/7/net/dev": HEAD + LO + ETH0 + VETH, "proc/8/net/dev": HEAD})
    assert network_bytes(7, tmp_path) == (5000, 10000)
    assert network_bytes(8, tmp_path) == network_bytes(9, tmp_path) == (None, None)
