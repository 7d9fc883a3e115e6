"""The address of a session that moved, in the network namespace of a container made as engines make them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from netvps.adapters.netlink.interfaces.session_address import SessionAddress, assume
from netvps.domain.overlay.settings import session_mac
from tests.support.namespaces import Namespace, namespace

pytestmark = pytest.mark.netns
MOVED = SessionAddress("10.128.0.9", "10.128.4.2", "10.128.4.1")


@pytest.fixture
def container() -> Iterator[Namespace]:
    with namespace() as made:
        made.ip("link", "add", "eth0", "type", "veth", "peer", "name", "outside")
        for link in ("eth0", "outside"):
            made.ip("link", "set", link, "up")
        yield made


@contextmanager
def entered(container: Namespace) -> Iterator[int]:
    descriptor = os.open(Path("/run/netns") / container.name, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("given", ["10.128.0.9", "10.128.4.2"], ids=["given the MAC", "derives it"])
def test_it_is_the_only_one_and_all_goes_by_the_bridge_of_the_new_runner(container: Namespace, given: str) -> None:
    container.ip("link", "set", "eth0", "address", session_mac(given))
    container.ip("address", "add", "10.128.4.2/22", "dev", "eth0")
    container.ip("route", "add", "default", "via", "10.128.4.1")
    before = Path("/proc/thread-self/ns/net").readlink()
    for _ in range(2):
        with entered(container) as descriptor:
            assert assume(descriptor, MOVED) == ""
        assert "10.128.4.2" not in container.ip("address", "show", "dev", "eth0")
        assert "inet 10.128.0.9/32" in container.ip("address", "show", "dev", "eth0")
        (route,) = container.ip("route").splitlines()
        assert route.split()[:5] == ["default", "via", "10.128.4.1", "dev", "eth0"]
        assert "src 10.128.0.9" in route
        assert "onlink" in route
        assert session_mac("10.128.0.9") in container.ip("link", "show", "eth0")
    assert Path("/proc/thread-self/ns/net").readlink() == before


def test_without_its_interface_it_is_said(container: Namespace) -> None:
    with entered(container) as descriptor:
        why = assume(descriptor, MOVED)
    assert why == "cannot give a session its address 10.128.0.9: it has no interface on the overlay; start it again"


def test_what_is_no_namespace_is_said(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    descriptor = os.open(file, os.O_RDONLY)
    try:
        assert assume(descriptor, MOVED).startswith("cannot give a session its address 10.128.0.9: ")
    finally:
        os.close(descriptor)
