from __future__ import annotations

import errno

from netvps.adapters.netlink.refused import Refused, done_before, explained
from netvps.adapters.netlink.wire import Refusal
from netvps.domain.overlay.kernel import operations as op
from netvps.domain.overlay.kernel.links import Address, Device, Route

DEVICE = Device(7, 14789, "192.0.2.1", "02:00:00:00:00:01", 1450)


def test_what_exists_or_is_gone_was_done_before() -> None:
    assert done_before(op.PutRoute("10.0.0.0/8", Route()), Refusal(errno.EEXIST, ""))
    assert done_before(op.DropRoute("10.0.0.0/8"), Refusal(errno.ESRCH, ""))
    assert not done_before(op.DropRoute("10.0.0.0/8"), Refusal(errno.EPERM, ""))
    assert not done_before(op.MakeDevice(DEVICE), Refusal(errno.EEXIST, ""))


def test_each_says_what_to_do() -> None:
    def said(operation: op.Operation, code: int, text: str = "") -> str:
        return explained(operation, Refusal(code, text))

    assert said(op.MakeDevice(DEVICE), errno.EPERM).endswith("run the runner as root or with CAP_NET_ADMIN")
    assert said(op.MakeDevice(DEVICE), errno.EOPNOTSUPP).startswith("this kernel has no VXLAN; load the module")
    assert said(op.ChangeDevice(DEVICE), errno.EADDRINUSE).startswith("UDP port 14789 is in use")
    assert said(op.ChangeDevice(DEVICE), errno.EINVAL) == "change device: Invalid argument"
    assert said(op.DropNeighbour("10.0.0.1"), errno.EINVAL, "no") == "drop neighbour 10.0.0.1: no (Invalid argument)"
    address = op.PutAddress(Address("nv0", "10.128.0.0/32"))
    assert said(address, errno.ENODEV) == "put address 10.128.0.0/32 of nv0: No such device"


def test_message_that_repeats_errno_is_printed_once() -> None:
    assert str(Refused(errno.EINVAL, "Invalid argument").refusal) == "Invalid argument"
    assert str(Refused(errno.EINVAL, "Unknown device").refusal) == "Unknown device (Invalid argument)"
