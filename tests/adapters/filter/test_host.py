"""Sessions without the overlay and services of their machine, in namespaces:

outside 192.0.2.2 ── 192.0.2.1 machine ─┬─ nvi0123 172.30.0.1 ── 172.30.0.2 session
                                        └─ br-other 172.20.0.1 ── 172.20.0.2 another container
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from netvps.adapters.filter.host import HostFilter, name_servers
from netvps.adapters.filter.nftables import Nftables
from tests.support.namespaces import Namespace, namespace

BUSYBOX = "/bin/busybox"


@dataclass
class Site:
    machine: Namespace
    outside: Namespace
    session: Namespace
    other: Namespace

    def filter(self, resolv_conf: Path) -> HostFilter:
        nft = ("nsenter", f"--net=/run/netns/{self.machine.name}", "nft")
        return HostFilter(Nftables(nft), (resolv_conf,), lambda: "")

    def reaches(self, of: Namespace, address: str, port: int) -> bool:
        return "hello" in of.run(BUSYBOX, "nc", "-w", "2", address, str(port), check=False, stdin="")

    def require(self, of: Namespace, reached: dict[tuple[str, int], bool]) -> None:
        """What is open is tried again: between two connections, busybox does not listen."""
        for target, expected in reached.items():
            tries = 10 if expected else 1
            assert any(self.reaches(of, *target) for _ in range(tries)) == expected, target


def _link(machine: Namespace, bridge: str, end: Namespace, network: str) -> None:
    if bridge:
        machine.ip("link", "add", bridge, "type", "bridge")
        machine.ip("address", "add", f"{network}.1/24", "dev", bridge)
        machine.ip("link", "set", bridge, "up")
    port = f"v{network.replace('.', '')}"
    machine.ip("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", end.name)
    machine.ip("link", "set", port, *(("master", bridge) if bridge else ()), "up")
    if not bridge:
        machine.ip("address", "add", f"{network}.1/24", "dev", port)
    end.ip("address", "add", f"{network}.2/24", "dev", "eth0")
    end.ip("link", "set", "eth0", "up")
    end.ip("route", "add", "default", "via", f"{network}.1")


@pytest.fixture
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        site = Site(*(stack.enter_context(namespace()) for _ in range(4)))
        _link(site.machine, "nvi0123", site.session, "172.30.0")
        _link(site.machine, "br-other", site.other, "172.20.0")
        _link(site.machine, "", site.outside, "192.0.2")
        site.machine.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
        nat = "add table ip nat; add chain ip nat pre { type nat hook prerouting priority -100; }; add rule ip nat pre"
        site.machine.run("nft", f"{nat} ip daddr 192.0.2.1 tcp dport 8001 dnat to 172.20.0.2:8000")
        for host, port in ((site.machine, 8000), (site.machine, 53), (site.outside, 8000), (site.other, 8000)):
            serve = f"while :; do echo hello | {BUSYBOX} nc -l -p {port}; done"
            process = subprocess.Popen(["nsenter", f"--net=/run/netns/{host.name}", "sh", "-c", serve])
            stack.callback(process.wait)
            stack.callback(process.kill)
        yield site


@pytest.mark.netns
async def test_a_session_reaches_the_outside_and_of_its_machine_only_the_name_server(
    site: Site, tmp_path: Path
) -> None:
    resolv_conf = tmp_path / "resolv.conf"
    resolv_conf.write_text("nameserver 172.30.0.1\n")
    targets = [("172.30.0.1", 8000), ("192.0.2.1", 8000), ("192.0.2.1", 8001), ("192.0.2.2", 8000), ("172.30.0.1", 53)]
    site.require(site.session, dict.fromkeys(targets, True))
    kept = site.filter(resolv_conf)
    assert await kept.ensure() == ""
    site.require(site.session, dict(zip(targets, (False, False, False, True, True), strict=True)))
    site.require(site.other, {("172.20.0.1", 8000): True})  # containers of others are as before
    site.require(site.outside, {("192.0.2.1", 8001): True})
    site.machine.run("nft", "flush", "table", "inet", "netvps-isolated")
    resolv_conf.write_text("nameserver 192.0.2.9\n")
    assert await kept.ensure() == ""  # others flush tables, and name servers change
    site.require(site.session, dict(zip(targets, (False, False, False, True, False), strict=True)))
    await kept.remove()
    assert "netvps-isolated" not in site.machine.run("nft", "list", "tables")


async def test_who_may_not_write_rules_says_so_and_what_to_do() -> None:
    said = await HostFilter(Nftables(("no-nft",)), (), lambda: "it needs CAP_NET_ADMIN").ensure()
    assert said.endswith("reach what listens on all addresses of this machine: it needs CAP_NET_ADMIN")
    assert "cannot run no-nft" in await HostFilter(Nftables(("no-nft",)), (), lambda: "").ensure()


def test_name_servers_are_those_of_all_files_but_the_loopback(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("# x\nnameserver 127.0.0.53\nnameserver 192.0.2.7\nnameserver fe80::1%eth0\nsearch a\n")
    two.write_text("nameserver 192.0.2.7\nnameserver 2001:db8::1\nnameserver x; reboot\nnameserver\n")
    assert name_servers((one, tmp_path / "missing", two)) == ("192.0.2.7", "2001:db8::1")
