"""Docker's rules, as they are in a container, in a real network namespace."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netvps.adapters.docker.network.resolver import opened, remove_nat
from tests.support.namespaces import Namespace, namespace

pytestmark = pytest.mark.netns
# By an engine that uses iptables, and by one that uses nftables (its table and chains).
IPTABLES = """*nat
:DOCKER_OUTPUT - [0:0]
:DOCKER_POSTROUTING - [0:0]
-A OUTPUT -d 127.0.0.11/32 -j DOCKER_OUTPUT
-A POSTROUTING -d 127.0.0.11/32 -j DOCKER_POSTROUTING
-A DOCKER_OUTPUT -d 127.0.0.11/32 -p udp -m udp --dport 53 -j DNAT --to-destination 127.0.0.11:40053
-A DOCKER_POSTROUTING -s 127.0.0.11/32 -p udp -m udp --sport 40053 -j SNAT --to-source :53
COMMIT
"""
NFTABLES = """table ip docker-dns {
  chain output { type nat hook output priority -100; ip daddr 127.0.0.11 udp dport 53 dnat to 127.0.0.11:40053; }
  chain postrouting { type nat hook postrouting priority 100; ip saddr 127.0.0.11 udp sport 40053 snat to :53; }
}
"""
KINDS = {
    "iptables-nft": (("iptables-nft-restore",), IPTABLES),
    "iptables-legacy": (("iptables-legacy-restore",), IPTABLES),
    "nftables": (("nft", "-f", "-"), NFTABLES),
}


@pytest.fixture
def container() -> Iterator[Namespace]:
    with namespace() as made:
        yield made


@contextmanager
def entered(container: Namespace) -> Iterator[int]:
    with Path(f"/run/netns/{container.name}").open() as file:
        yield file.fileno()


def rules(container: Namespace) -> str:
    """All there are."""
    found = container.run("nft", "list", "ruleset")
    if container.run("cat", "/proc/thread-self/net/ip_tables_names"):  # to ask iptables would make the table
        found += "".join(
            line for line in container.run("iptables-legacy-save", "-t", "nat").splitlines() if line.startswith("-A")
        )
    return found


def tracked(container: Namespace) -> bool:
    """Whether connections are."""
    with container.inside(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.sendto(b"", ("127.0.0.1", 9))
    return "dport=9" in container.run("cat", "/proc/thread-self/net/nf_conntrack")


@pytest.mark.parametrize("kind", KINDS)
async def test_its_rules_go_and_nothing_is_tracked_any_more(container: Namespace, kind: str) -> None:
    command, text = KINDS[kind]
    container.run(*command, stdin=text)
    assert "127.0.0.11" in rules(container)
    with entered(container) as within:
        assert await remove_nat(within) == ""
        assert rules(container) == ""
        assert not tracked(container)
        assert await remove_nat(within) == ""
    container.run(*command, stdin=text)  # as an engine that comes back does
    assert tracked(container)


async def test_where_nothing_is_nothing_is_made(container: Namespace) -> None:
    with entered(container) as within:
        assert await remove_nat(within) == ""
    assert rules(container) == ""
    assert container.run("cat", "/proc/thread-self/net/ip_tables_names") == ""


async def test_what_is_no_namespace_is_said(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        assert "nsenter" in await remove_nat(file.fileno())


def test_only_the_namespace_of_another_is_opened(tmp_path: Path, container: Namespace) -> None:
    with opened(os.getpid()) as own, opened(0) as orphaned:
        assert own is None
        assert orphaned is None
    (tmp_path / "7/ns").mkdir(parents=True)
    (tmp_path / "7/ns/net").symlink_to(f"/run/netns/{container.name}")
    with opened(7, tmp_path) as others, entered(container) as within:
        assert others
        assert os.path.sameopenfile(others, within)
