"""Explains a refusal by the kernel, with what to do."""

from __future__ import annotations

import errno

from netvps.adapters.netlink.wire import Refusal
from netvps.domain.overlay.kernel import operations as op
from netvps.domain.overlay.kernel.operations import Operation

# Errors that mean the operation is already done.
_DONE_BEFORE: dict[type[Operation], frozenset[int]] = {
    op.PutNeighbour: frozenset({errno.EEXIST}),
    op.PutFdb: frozenset({errno.EEXIST}),
    op.PutRoute: frozenset({errno.EEXIST}),
    op.DropNeighbour: frozenset({errno.ENOENT, errno.ENODEV}),
    op.DropFdb: frozenset({errno.ENOENT, errno.ENODEV}),
    op.DropRoute: frozenset({errno.ESRCH, errno.ENOENT, errno.ENODEV}),
}


class Refused(Exception):
    """An operation that the kernel refused; does not leave this package."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.refusal = Refusal(code, "" if text == str(Refusal(code, "")) else text)


def done_before(operation: Operation, refusal: Refusal) -> bool:
    """Reports whether the refusal means that the operation is already done."""
    return refusal.errno in _DONE_BEFORE.get(type(operation), ())


def explained(operation: Operation, refusal: Refusal) -> str:
    """Returns what failed, why, and what to do, on one line."""
    if refusal.errno in {errno.EPERM, errno.EACCES}:
        return f"{_named(operation)}: not permitted; run the runner as root or with CAP_NET_ADMIN"
    if isinstance(operation, op.MakeDevice | op.ChangeDevice):
        return _device(operation, refusal)
    return f"{_named(operation)}: {refusal}"


def _device(operation: op.MakeDevice | op.ChangeDevice, refusal: Refusal) -> str:
    device = operation.device
    if refusal.errno == errno.EADDRINUSE:
        return (
            f"UDP port {device.port} is in use: stop what uses it (ss -lunp; ip -d link show type vxlan), or give the "
            "overlay another port"
        )
    if refusal.errno == errno.EEXIST and "VNI" in refusal.text:
        return (
            f"another VXLAN device has VNI {device.vni} on UDP port {device.port}: delete it (ip -d link show type "
            "vxlan), or give the overlay another VNI or port"
        )
    if refusal.errno == errno.EOPNOTSUPP and isinstance(operation, op.MakeDevice):
        return "this kernel has no VXLAN; load the module (modprobe vxlan), or use a kernel that has it"
    return f"{_named(operation)}: {refusal}"


def _named(operation: Operation) -> str:
    """Names the operation: "put route 10.128.4.0/22"."""
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in type(operation).__name__)
    return f"{words} {_subject(operation)}".strip()


def _subject(operation: Operation) -> str:
    match operation:
        case op.PutAddress(address) | op.DropAddress(address):
            return f"{address.cidr} of {address.link}"
        case op.PutNeighbour(key) | op.DropNeighbour(key) | op.PutFdb(key) | op.DropFdb(key):
            return key
        case op.PutRoute(key) | op.DropRoute(key) | op.SetSysctl(key):
            return key
    return ""
