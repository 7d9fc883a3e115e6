from __future__ import annotations

import pytest

from netvps.adapters.netlink.entries import ForeignRoute, Own, decode, encode
from netvps.adapters.netlink.wire import messages
from netvps.domain.overlay.kernel import operations as op
from netvps.domain.overlay.kernel.links import Route
from netvps.domain.overlay.kernel.operations import EntryOperation

OWN = Own(device=7, protocol=201, bridge=9)


def through(operation: EntryOperation, sender: Own, reader: Own) -> object:
    ((kind, _, _, _, body),) = messages(encode(operation, sender))
    return decode(kind, body, reader)


@pytest.mark.parametrize(
    "operation",
    [
        op.PutNeighbour("10.128.4.0", "02:00:00:00:00:09"),
        op.DropNeighbour("10.128.4.0"),
        op.PutFdb("02:00:00:00:00:09", "192.0.2.9"),
        op.PutFdb("02:00:00:00:00:09", "2001:db8::9"),
        op.DropFdb("02:00:00:00:00:09"),
        op.PutRoute("10.128.4.0/22", Route("10.128.4.0")),
        op.PutRoute("10.128.4.0/22", Route("10.128.4.0", 1400)),
        op.PutRoute("10.128.0.0/10", Route()),
        op.PutRoute("10.128.0.9/32", Route(on_bridge=True)),
        op.PutRoute("10.128.0.9/32", Route()),
        op.DropRoute("10.128.4.0/22"),
    ],
)
def test_what_is_written_is_what_is_read(operation: EntryOperation) -> None:
    assert through(operation, OWN, OWN) == operation


def test_entries_of_other_devices_are_ignored() -> None:
    other = Own(device=8, protocol=201)
    assert through(op.PutNeighbour("10.128.4.0", "02:00:00:00:00:09"), other, OWN) is None
    assert through(op.DropFdb("02:00:00:00:00:09"), other, OWN) is None


def test_a_route_with_our_protocol_elsewhere_is_never_one_that_we_want() -> None:
    route = op.PutRoute("10.128.4.0/22", Route("10.128.4.0"))
    assert through(route, Own(device=8, protocol=201), OWN) == op.PutRoute(
        "10.128.4.0/22", Route("10.128.4.0 elsewhere")
    )
    on_link = op.PutRoute("10.128.0.9/32", Route(on_bridge=True))
    assert through(on_link, Own(7, 201, bridge=8), OWN) == op.PutRoute("10.128.0.9/32", Route(" elsewhere"))


def test_routes_of_others_are_distinguished() -> None:
    route = op.PutRoute("10.128.4.0/22", Route("10.128.4.0"))
    assert through(route, Own(device=8, protocol=4), OWN) == ForeignRoute("10.128.4.0/22", 8, 4)
