from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.overlay.settings import (
    OverlaySettings,
    bridge_address,
    device_mac,
    endpoint_address,
    overlay_mtu,
    session_addresses,
    session_mac,
)
from netvps.errors import ConfigError

SETTINGS = OverlaySettings("cluster")


def test_the_addresses_of_a_subnet() -> None:
    cidr = "10.128.4.0/22"
    assert endpoint_address(cidr) == "10.128.4.0"
    assert bridge_address(cidr) == "10.128.4.1"
    addresses = session_addresses(cidr)
    assert (IPv4Address(addresses[0]), IPv4Address(addresses[-1])) == (
        IPv4Address("10.128.4.2"),
        IPv4Address("10.128.7.254"),
    )
    assert len(addresses) == 1021


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_device_mac_is_one_machines_own(cluster: str, runner: str) -> None:
    mac = device_mac(OverlaySettings(cluster), runner)
    first = int(mac[:2], 16)
    assert (len(mac), first & 0b11) == (17, 0b10)  # local, unicast
    assert mac == device_mac(OverlaySettings(cluster), runner)


@pytest.mark.parametrize("other", [device_mac(SETTINGS, "b"), device_mac(OverlaySettings("another"), "a")])
def test_a_device_mac_differs_by_runner_and_by_cluster(other: str) -> None:
    assert other != device_mac(SETTINGS, "a")


def test_a_session_mac_follows_from_its_address() -> None:
    assert session_mac("10.128.4.2") == "02:42:0a:80:04:02"


def test_the_overlay_takes_its_headers_from_the_underlay() -> None:
    assert overlay_mtu(1500, "192.0.2.1") == 1450
    assert overlay_mtu(1500, "2001:db8::1") == 1430
    assert overlay_mtu(9000, "192.0.2.1") == 8950


def test_an_underlay_that_is_too_small_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"MTU of the underlay at 192.0.2.1 is 600, but the overlay needs at least 626"
    ):
        overlay_mtu(600, "192.0.2.1")
