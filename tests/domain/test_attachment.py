"""Where a container shall be, and where it asks for names."""

from __future__ import annotations

import pytest

from netvps.domain.attachment import Attachment, Net, attachment_of, resolv_conf
from netvps.domain.session import Assignment, DesiredState, Network, SessionSpec


def want(network: Network = Network.DEFAULT, address: str = "") -> Assignment:
    spec = SessionSpec(image="x", network=network)
    return Assignment("0123456789abc", "dev1", "ann", 1, 1, DesiredState.RUNNING, spec, None, 1, address)


@pytest.mark.parametrize(
    ("wanted", "attachment"),
    [
        (want(), Attachment(Net.ISOLATED)),
        (want(Network.NONE), Attachment(Net.NONE)),
        (want(address="10.128.4.2"), Attachment(Net.OVERLAY, "10.128.4.2")),
        (want(Network.OVERLAY, "10.128.4.2"), Attachment(Net.OVERLAY, "10.128.4.2")),
    ],
)
def test_an_address_is_what_puts_it_on_the_overlay(wanted: Assignment, attachment: Attachment) -> None:
    assert attachment_of(wanted) == attachment


def test_on_the_overlay_the_bridge_is_asked_and_short_names_are_the_owners() -> None:
    assert resolv_conf(want(address="10.128.4.2"), "10.128.4.1") == "nameserver 10.128.4.1\nsearch ann.nv.internal\n"


def test_one_that_left_the_overlay_asks_docker() -> None:
    assert resolv_conf(want(), "") == "nameserver 127.0.0.11\noptions ndots:0\n"
