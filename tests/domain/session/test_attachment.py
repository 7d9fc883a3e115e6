"""Where a container belongs, and where it asks for names."""

from __future__ import annotations

from dataclasses import replace

import pytest

from netvps.domain.session.attachment import Attachment, Net, attachment_at_once, attachment_of, resolv_conf
from netvps.domain.session.session import Assignment, DesiredState
from netvps.domain.session.spec import Network, SessionSpec


def assignment(network: Network = Network.DEFAULT, address: str = "") -> Assignment:
    spec = SessionSpec(image="x", network=network)
    return Assignment("0123456789abc", "dev1", "ann", 1, 1, DesiredState.RUNNING, spec, None, 1, address)


@pytest.mark.parametrize(
    ("wanted", "attachment"),
    [
        (assignment(), Attachment(Net.ISOLATED, owner="ann")),
        (assignment(Network.NONE), Attachment(Net.NONE)),
        (assignment(address="10.128.4.2"), Attachment(Net.OVERLAY, "10.128.4.2")),
        (assignment(Network.OVERLAY, "10.128.4.2"), Attachment(Net.OVERLAY, "10.128.4.2")),
        (
            replace(assignment(address="10.128.0.2"), local_address="10.128.4.2"),
            Attachment(Net.OVERLAY, "10.128.0.2", "10.128.4.2"),
        ),
    ],
)
def test_an_address_is_what_puts_it_on_the_overlay(wanted: Assignment, attachment: Attachment) -> None:
    assert attachment_of(wanted) == attachment


def test_on_the_overlay_the_bridge_is_asked_and_short_names_are_the_owners() -> None:
    assert (
        resolv_conf(assignment(address="10.128.4.2"), "10.128.4.1") == "nameserver 10.128.4.1\nsearch ann.nv.internal\n"
    )


def test_one_that_left_the_overlay_asks_docker() -> None:
    assert resolv_conf(assignment(), "") == "nameserver 127.0.0.11\noptions ndots:0\n"


OWN = Attachment(Net.ISOLATED, owner="ann")


@pytest.mark.parametrize(
    ("wanted", "now", "to"),
    [
        (assignment(), OWN, None),
        (assignment(), None, None),
        (assignment(), Attachment(Net.OTHER), None),
        (assignment(), Attachment(Net.NONE), OWN),
        (assignment(), Attachment(Net.SHARED), OWN),
        (assignment(Network.NONE), Attachment(Net.SHARED), Attachment(Net.NONE)),
        (assignment(Network.NONE), Attachment(Net.NONE), None),
        # The overlay comes with the next start; the network that all owners shared goes now.
        (assignment(address="10.128.4.2"), Attachment(Net.SHARED), OWN),
        (assignment(address="10.128.4.2"), OWN, None),
    ],
)
def test_one_that_runs_leaves_the_network_that_all_shared_at_once(
    wanted: Assignment, now: Attachment | None, to: Attachment | None
) -> None:
    assert attachment_at_once(wanted, now) == to
