"""Links and addresses, by pyroute2: there are a handful of them."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_interface
from typing import Any, Self

from pyroute2 import IPRoute
from pyroute2.ethtool.ioctl import IoctlEthtool, NotSupportedError
from pyroute2.netlink.exceptions import NetlinkError

from netvps.adapters.netlink.bulk import BulkSocket
from netvps.adapters.netlink.link_list import all_links
from netvps.adapters.netlink.link_local import no_link_local_learning
from netvps.adapters.netlink.refused import Refused
from netvps.domain.overlay import operations as op
from netvps.domain.overlay.links import Address, Bridge, Device, ObjectNames
from netvps.domain.overlay.operations import AddressOperation, LinkOperation
from netvps.errors import WrongState

VXLAN = "vxlan"
_GONE = {errno.ENODEV, errno.EADDRNOTAVAIL, errno.ENOENT}
_UP = 1
_CHECKSUMS = "tx-checksumming"
_DAY = 24 * 60 * 60 * 100
"""In the kernel's unit of ageing times, a hundredth of a second."""


class Links:
    """For the thread that makes it alone: pyroute2 has a socket for each thread."""

    def __init__(self, names: ObjectNames) -> None:
        self._names = names
        # No namespace is named: that would fork, which gRPC does not survive. It is the one that we are in.
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
        """Of a link; 0 if there is none."""
        found = self._get(name)
        return int(found["index"]) if found else 0

    def device(self) -> Device | None:
        """The VXLAN device, if there is one. Raises WrongState if something else has its name."""
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
        """The bridge, if there is one. Raises WrongState if something else has its name."""
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
        """IPv4 addresses of both."""
        found = set()
        for name in (self._names.device, self._names.bridge):
            if index := self.index(name):
                for address in self._kernel.addr("dump", family=socket.AF_INET, index=index):
                    if address["index"] == index:
                        found.add(Address(name, f"{address.get('IFA_LOCAL')}/{address['prefixlen']}"))
        return frozenset(found)

    def apply(self, operation: LinkOperation | AddressOperation) -> None:
        """Does it. Raises Refused."""
        try:
            self._apply(operation)
        except NetlinkError as error:
            raise Refused(error.code, str(error.args[1]) if len(error.args) > 1 else "") from None

    def attach(self, ports: frozenset[str]) -> None:
        """Puts links on the bridge, up; those that are so already stay so, those that are gone are no error."""
        bridge = self.index(self._names.bridge)
        for link in all_links() if bridge else ():
            if link.name in ports and not (link.up and link.master == bridge):
                with suppress(NetlinkError):  # its container just ended
                    self._kernel.link("set", index=link.index, master=bridge, state="up")

    def understands_vxlan(self) -> bool:
        """Asks for a VXLAN device with nothing said of it: a kernel that knows the kind refuses it for that."""
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
        with suppress(NetlinkError):  # for programs at its ingress; once it is up, that would stop it for a moment
            self._kernel.tc("add", "clsact", index=self.index(self._names.device))
        try:
            self._kernel.link("set", index=self.index(self._names.device), state=_state(device.up))
        except NetlinkError:  # the port is taken: a device that is down hides that from whoever looks
            self._remove(self._names.device)
            raise

    def _change_device(self, device: Device) -> None:
        """All of it, as the rest is then the same already. The MTU last: it may be refused for the state of others."""
        index = self.index(self._names.device)
        local = "vxlan_local6" if ":" in device.local else "vxlan_local"
        self._kernel.link("set", index=index, kind=VXLAN, vxlan_id=device.vni, **{local: device.local})
        self._offload_checksums(device.checksum_offload)
        self._kernel.link("set", index=index, state=_state(device.up))
        self._kernel.link("set", index=index, mtu=device.mtu)

    def _offloads_checksums(self) -> bool:
        try:
            return bool(self._offload.get_offload_flags()[_CHECKSUMS])
        except (NotSupportedError, OSError):  # it went since it was seen: so will all else of it
            return True

    def _offload_checksums(self, wanted: bool) -> None:
        """Without it, segmentation is not left to the card either: the kernel sees to that."""
        try:
            if self._offloads_checksums() != wanted:
                self._offload.set_offload_flag(_CHECKSUMS, int(wanted))
        except NotSupportedError:
            raise Refused(errno.EINVAL, "checksum offload cannot be changed") from None
        except OSError as error:
            raise Refused(error.errno or errno.EIO, "") from None

    def _change_bridge(self, bridge: Bridge) -> None:
        """The MTU is set even where it is right: once it was, the bridge does not take that of its ports."""
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
    """Errors that say that it is done already."""
    try:
        yield
    except NetlinkError as error:
        if error.code not in codes:
            raise


def _kind_data(link: Any, kind: str, name: str) -> Any:
    found = link.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND")
    if found != kind:
        raise WrongState(
            f"there is a link named {name} that is no {kind} but {found or 'a plain interface'}: rename or remove it "
            f"(ip link delete {name}), and the runner goes on"
        )
    return link.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA") or {}


def whole_days(ageing_time: int) -> int:
    """Nearest to an ageing time as the kernel tells it: at 300 ticks a second, a year is 3 s less than what was set."""
    return round(ageing_time / _DAY)


def _state(up: bool) -> str:
    return "up" if up else "down"
