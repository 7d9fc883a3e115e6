"""Addresses of this machine."""

from __future__ import annotations

from ipaddress import ip_address

from netvps.adapters.netlink.own_addresses import own_addresses


def test_loopback_is_among_them_and_no_link_local_one() -> None:
    found = [ip_address(address) for address in own_addresses()]
    assert ip_address("127.0.0.1") in found
    assert not [address for address in found if address.is_link_local]
    assert found == sorted(set(found), key=lambda address: (address.version, address.packed))
