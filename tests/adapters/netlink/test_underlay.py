"""Which address leads to the others, in a namespace of its own."""

from __future__ import annotations

import pytest

from netvps.adapters.netlink.underlay import detect
from netvps.domain.overlay.kernel.links import OBJECT_NAMES
from netvps.domain.runner.runner import Underlay
from netvps.errors import ConfigError, Unavailable
from tests.support.namespaces import Namespace

pytestmark = pytest.mark.netns


def found(choice: str = "", *targets: str) -> Underlay:
    return detect(choice, targets, OBJECT_NAMES)


@pytest.mark.parametrize(
    ("choice", "address", "mtu"),
    [("192.0.2.1", "192.0.2.1", 1450), ("eth0", "192.0.2.1", 1450), ("2001:db8::1", "2001:db8::1", 1430)],
)
def test_an_underlay_of_choice(host: Namespace, choice: str, address: str, mtu: int) -> None:
    host.ip("address", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
    assert found(choice) == Underlay((address,), mtu)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ("eth7", "this machine has no interface 'eth7'; choose one of: eth0, far, lo"),
        ("192.0.2.44", "does not have the address 192.0.2.44"),
        ("far", "interface far has no address"),
    ],
)
@pytest.mark.usefixtures("host")
def test_an_underlay_that_is_not_there(choice: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        found(choice)


def test_the_way_to_the_server_decides(host: Namespace) -> None:
    host.ip("link", "add", "other", "mtu", "9000", "type", "bridge")
    host.ip("address", "add", "198.51.100.7/24", "dev", "other")
    host.ip("link", "set", "other", "up")
    assert found("", "198.51.100.20") == Underlay(("198.51.100.7",), 8950)
    assert found("", "192.0.2.1") == Underlay(("192.0.2.1",), 1450)  # it is here
    assert found("", "127.0.0.1", "192.0.2.9").addresses == ("192.0.2.1",)
    assert found("", "203.0.113.5").addresses == ("198.51.100.7",)  # of the only way that leads anywhere
    host.ip("route", "add", "203.0.113.0/24", "via", "192.0.2.9", "mtu", "1300")
    assert found("", "203.0.113.5") == Underlay(("192.0.2.1",), 1250)
    host.ip("link", "delete", "other")
    with pytest.raises(Unavailable, match="no address that other machines reach"):
        found()


def test_the_overlay_is_no_underlay(host: Namespace) -> None:
    host.ip("link", "add", "nv0", "type", "bridge")
    host.ip("address", "add", "198.51.100.7/24", "dev", "nv0")
    host.ip("link", "set", "nv0", "up")
    with pytest.raises(Unavailable, match="no address that other machines reach"):
        found("", "198.51.100.20")


def test_too_small_an_mtu_is_refused(host: Namespace) -> None:
    host.ip("link", "set", "eth0", "mtu", "600")
    with pytest.raises(ConfigError, match=r"MTU of the underlay at 192\.0\.2\.1 is 600"):
        found("eth0")
