"""Manages links and addresses with pyroute2; there are only a few."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_interface
from typing import Any, Self

from pyroute2 import IPRoute
from pyroute2.ethtool.ioctl import EthtoolError, IoctlEthtool, NoSuchDevice, NotSupportedError
from pyroute2.netlink.exceptions import NetlinkError

from netvps.adapters.netlink.bulk import BulkSocket
from netvps.adapters.netlink.interfaces.messages import all_links, no_link_local_learning
from netvps.adapters.netlink.refused import Refused
from netvps.domain.overlay.kernel import operations as op
from netvps.domain.overlay.kernel.links import Address, Bridge, Device, ObjectNames
from netvps.domain.overlay.kernel.operations import AddressOperation, LinkOperation
from netvps.errors import WrongState

VXLAN = "vxlan"
_GONE = {errno.ENODEV, errno.EADDRNOTAVAIL, errno.ENOENT}
_UP = 1
_CHECKSUMS = "tx-checksumming"
_DAY = 24 * 60 * 60 * 100
"""A day in the kernel's unit of ageing times, 1/100 s."""


class Links:
    """Links and addresses. To be used by the thread that creates it: pyroute2 opens sockets per thread."""

    def __init__(self, names: ObjectNames) -> None:
        self._names = names
        # The current namespace, never a named one: for that pyroute2 forks, which gRPC does not survive.
        self._kernel = IPRoute(groups=0, ext_ack=True, strict_check=True)
        self._offload = IoctlEthtool(names.device)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the sockets."""
        self._kernel.close()
        self._offload.close()

    def index(self, name: str) -> int:
        """Returns a link's interface index; 0 if it does not exist."""
        found = self._get(name)
        return int(found["index"]) if found else 0

    def device(self) -> Device | None:
        """Reads the VXLAN device; None if it does not exist. Raises WrongState if another kind of link has its name."""
        found = self._get(self._names.device)
        if found is None:
            return None
        data = _kind_data(found, "vxlan", self._names.device)
        return Device(
            vni=data.get("IFLA_VXLAN_ID") or 0,
            port=data.get("IFLA_VXLAN_PORT") or 0,
            local=data.get("IFLA_VXLAN_LOCAL") or data.get("IFLA_VXLAN_LOCAL6") or "",
            mac=found.get("address"),
            mtu=found.get("mtu"),
            up=bool(found["flags"] & _UP),
            learning=bool(data.get("IFLA_VXLAN_LEARNING")),
            remote=data.get("IFLA_VXLAN_GROUP") or data.get("IFLA_VXLAN_GROUP6") or "",
            checksum_offload=self._offloads_checksums(),
        )

    def bridge(self) -> Bridge | None:
        """Reads the bridge; None if it does not exist. Raises WrongState if another kind of link has its name."""
        found = self._get(self._names.bridge)
        if found is None:
            return None
        data = _kind_data(found, "bridge", self._names.bridge)
        return Bridge(
            mac=found.get("address"),
            mtu=found.get("mtu"),
            ageing_days=whole_days(data.get("IFLA_BR_AGEING_TIME") or 0),
            up=bool(found["flags"] & _UP),
            snooping=bool(data.get("IFLA_BR_MCAST_SNOOPING")),
        )

    def addresses(self) -> frozenset[Address]:
        """Reads the IPv4 addresses of device and bridge."""
        found = set()
        for name in (self._names.device, self._names.bridge):
            if index := self.index(name):
                for address in self._kernel.addr("dump", family=socket.AF_INET, index=index):
                    if address["index"] == index:
                        found.add(Address(name, f"{address.get('IFA_LOCAL')}/{address['prefixlen']}"))
        return frozenset(found)

    def apply(self, operation: LinkOperation | AddressOperation) -> None:
        """Executes an operation. Raises Refused."""
        try:
            self._apply(operation)
        except NetlinkError as error:
            raise Refused(error.code, str(error.args[1]) if len(error.args) > 1 else "") from None

    def attach(self, ports: frozenset[str]) -> None:
        """Makes links ports of the bridge and sets them up; skips those that are, and those that no longer exist."""
        bridge = self.index(self._names.bridge)
        for link in all_links() if bridge else ():
            if link.name in ports and not (link.up and link.master == bridge):
                with suppress(NetlinkError):  # its container just ended
                    self._kernel.link("set", index=link.index, master=bridge, state="up")

    def understands_vxlan(self) -> bool:
        """Reports VXLAN support: a kernel with VXLAN refuses a device without parameters with another error."""
        try:
            self._kernel.link("add", ifname=f"{self._names.device}-probe"[-15:], kind=VXLAN)
        except NetlinkError as error:
            return bool(error.code != errno.EOPNOTSUPP)
        return True

    def _apply(self, operation: LinkOperation | AddressOperation) -> None:
        match operation:
            case op.MakeDevice(device):
                self._make_device(device)
            case op.ChangeDevice(device):
                self._change_device(device)
            case op.RemoveDevice():
                self._remove(self._names.device)
            case op.MakeBridge(bridge):
                self._kernel.link("add", ifname=self._names.bridge, kind="bridge", address=bridge.mac)
                self._change_bridge(bridge)
            case op.ChangeBridge(bridge):
                self._change_bridge(bridge)
            case op.RemoveBridge():
                self._remove(self._names.bridge)
            case op.PutAddress(address):
                with _allowed({errno.EEXIST}):
                    self._kernel.addr("add", **self._address(address))
            case op.DropAddress(address):
                with _allowed(_GONE):
                    self._kernel.addr("del", **self._address(address))

    def _make_device(self, device: Device) -> None:
        local = "vxlan_local6" if ":" in device.local else "vxlan_local"
        self._kernel.link(
            "add",
            ifname=self._names.device,
            kind=VXLAN,
            address=device.mac,
            mtu=device.mtu,
            vxlan_id=device.vni,
            vxlan_port=device.port,
            vxlan_learning=int(device.learning),
            **{local: device.local},
        )
        self._offload_checksums(device.checksum_offload)
        with suppress(NetlinkError):  # for BPF programs; adding it later would stop the device briefly
            self._kernel.tc("add", "clsact", index=self.index(self._names.device))
        try:
            self._kernel.link("set", index=self.index(self._names.device), state=_state(device.up))
        except NetlinkError:  # port in use: a device left down would hide the cause
            self._remove(self._names.device)
            raise

    def _change_device(self, device: Device) -> None:
        """Sets all that can change on a live device.

        The MTU last: other interfaces' state may make the kernel refuse it.
        """
        index = self.index(self._names.device)
        local = "vxlan_local6" if ":" in device.local else "vxlan_local"
        self._kernel.link("set", index=index, kind=VXLAN, vxlan_id=device.vni, **{local: device.local})
        self._offload_checksums(device.checksum_offload)
        self._kernel.link("set", index=index, state=_state(device.up))
        self._kernel.link("set", index=index, mtu=device.mtu)

    def _offloads_checksums(self) -> bool:
        try:
            return bool(self._offload.get_offload_flags()[_CHECKSUMS])
        except (EthtoolError, OSError):  # or the device was deleted meanwhile; later operations report that
            return True

    def _offload_checksums(self, wanted: bool) -> None:
        """Sets checksum offload. Without it the kernel also segments in software."""
        try:
            if self._offloads_checksums() != wanted:
                self._offload.set_offload_flag(_CHECKSUMS, int(wanted))
        except NotSupportedError:
            raise Refused(errno.EINVAL, "the device does not let checksum offload be changed") from None
        except NoSuchDevice:
            raise Refused(errno.ENODEV, "") from None
        except OSError as error:
            raise Refused(error.errno or errno.EIO, "") from None

    def _change_bridge(self, bridge: Bridge) -> None:
        """Sets the MTU even if equal: once set explicitly, the bridge does not adopt that of its ports."""
        index = self.index(self._names.bridge)
        settings = {"br_ageing_time": bridge.ageing_days * _DAY, "br_mcast_snooping": int(bridge.snooping)}
        self._kernel.link("set", index=index, kind="bridge", address=bridge.mac, **settings)
        self._kernel.link("set", index=index, mtu=bridge.mtu)
        self._quieten(index)
        self._kernel.link("set", index=index, state=_state(bridge.up))

    def _quieten(self, index: int) -> None:
        with BulkSocket() as opened:
            (refusal,) = opened.request([no_link_local_learning(index)])
        if refusal:
            raise Refused(refusal.errno, refusal.text)

    def _remove(self, name: str) -> None:
        with _allowed(_GONE):
            if index := self.index(name):
                self._kernel.link("del", index=index)

    def _address(self, address: Address) -> dict[str, Any]:
        interface = ip_interface(address.cidr)
        index = self.index(address.link)
        return {"index": index, "address": str(interface.ip), "prefixlen": interface.network.prefixlen}

    def _get(self, name: str) -> Any:
        try:
            return next(iter(self._kernel.link("get", ifname=name)), None)
        except NetlinkError as error:
            if error.code in _GONE:
                return None
            raise


@contextmanager
def _allowed(codes: set[int]) -> Iterator[None]:
    """Ignores errors that mean the operation is already done."""
    try:
        yield
    except NetlinkError as error:
        if error.code not in codes:
            raise


def _kind_data(link: Any, kind: str, name: str) -> Any:
    found = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND")
    if found != kind:
        raise WrongState(
            f"link {name} is no {kind} but {found or 'a plain interface'}, so the overlay cannot use that name; "
            f"rename or delete it (ip link delete {name})"
        )
    return link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA") or {}


def whole_days(ageing_time: int) -> int:
    """Rounds an ageing time to days: at 300 ticks a second, the kernel reports a year 3 s short."""
    return round(ageing_time / _DAY)


def _state(up: bool) -> str:
    return "up" if up else "down"
