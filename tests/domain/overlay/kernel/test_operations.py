from __future__ import annotations

import pytest

from netvps.domain.overlay.kernel import operations as op
from netvps.domain.overlay.kernel.links import OBJECT_NAMES, Address, Route
from netvps.domain.overlay.kernel.operations import Operation


@pytest.mark.parametrize(
    ("operation", "needs"),
    [
        (op.PutNeighbour("10.128.8.0", "02:00:00:00:00:02"), True),
        (op.PutFdb("02:00:00:00:00:02", "192.0.2.2"), True),
        (op.PutRoute("10.128.8.0/22", Route("10.128.8.0")), True),
        (op.PutAddress(Address("nv0", "10.128.4.0/32")), True),
        (op.PutRoute("10.128.0.0/10", Route()), False),
        (op.PutAddress(Address("nvbr0", "10.128.4.1/22")), False),
        (op.DropRoute("10.128.8.0/22"), False),
        (op.SetSysctl("net/ipv4/ip_forward", "1"), False),
    ],
    ids=str,
)
def test_what_is_put_on_the_device_needs_it(operation: Operation, needs: bool) -> None:
    assert op.needs_device(operation, OBJECT_NAMES) is needs
