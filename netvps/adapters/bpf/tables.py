"""The maps of the fast path, and a copy of what they hold so that only differences are written."""

from __future__ import annotations

import errno
import hashlib
import socket
import struct
from collections.abc import Mapping
from contextlib import ExitStack, closing
from typing import Final

from netvps.adapters.bpf.programs import DEVICE, Maps
from netvps.adapters.bpf.syscall import HASH, LINKS, Map
from netvps.domain.overlay.kernel.fast_path import FastPath, Subnet

_MANY: Final = 1 << 17
"""Entries of a map: sessions of owners who have a session here. Entries that do not fit use the slow path."""
_OWNER_BYTES: Final = 8
_SUBNET: Final = struct.Struct("=6s?x")
_INDEX: Final = struct.Struct("=I")
Entries = Mapping[bytes, bytes]


class Table:
    """A map and a copy of its entries."""

    def __init__(self, kind: int, size: int, name: str) -> None:
        """Creates the map. Raises OSError."""
        self.map = Map(kind, size, _MANY, name)
        self._missing = {errno.E2BIG, errno.EINVAL} if kind == LINKS else {errno.E2BIG}
        """Errors that mean an entry cannot exist: the map is full, or the interface is gone."""
        self._there: dict[bytes, bytes] = {}

    def be(self, wanted: Entries) -> None:
        """Makes the entries equal `wanted`. Raises OSError."""
        self.change(dict.fromkeys(self._there, b""), wanted)

    def change(self, old: Entries, new: Entries) -> None:
        """Replaces the entries `old` by `new`; deletes before it adds, so that a full map has room. Raises OSError."""
        for key in old.keys() - new.keys():
            self.map.drop(key)
            self._there.pop(key, None)
        for key, value in new.items():
            if self._there.get(key) != value:
                self._put(key, value)

    def close(self) -> None:
        """Closes the map; attached programs keep it."""
        self.map.close()

    def _put(self, key: bytes, value: bytes) -> None:
        try:
            self.map.put(key, value)
        except OSError as error:
            if error.errno not in self._missing:
                raise
            return
        self._there[key] = value


class Tables:
    """The three maps. Each is correct by itself, so a packet may see one changed and another not yet."""

    def __init__(self) -> None:
        """Creates them. Raises OSError if the kernel lacks them, or this process may not."""
        with ExitStack() as stack:
            self.owners = stack.enter_context(closing(Table(HASH, _OWNER_BYTES, "netvps_owners")))
            self.subnets = stack.enter_context(closing(Table(HASH, _SUBNET.size, "netvps_subnets")))
            self.links = stack.enter_context(closing(Table(LINKS, _INDEX.size, "netvps_links")))
            self._open = stack.pop_all()

    @property
    def maps(self) -> Maps:
        """Returns the descriptors, for programs."""
        return Maps(*(table.map.descriptor for table in (self.owners, self.subnets, self.links)))

    def be(self, path: FastPath) -> None:
        """Makes owners and subnets equal `path`. Raises OSError."""
        self.owners.be(_owners(path))
        self.subnets.be(_subnets(path))

    def change(self, old: FastPath, new: FastPath) -> None:
        """Replaces what follows from `old` by what follows from `new`; keeps the rest. Raises OSError."""
        self.owners.change(_owners(old), _owners(new))
        self.subnets.change(_subnets(old), _subnets(new))

    def lead(self, device: int, links: Mapping[str, int]) -> None:
        """Sets the interfaces, by index: the VXLAN device, and sessions' by address. Raises OSError."""
        ports = {_key(address): _INDEX.pack(index) for address, index in links.items()}
        self.links.be({DEVICE: _INDEX.pack(device), **ports})

    def close(self) -> None:
        """Closes the maps; attached programs keep them."""
        self._open.close()


def _owners(path: FastPath) -> Entries:
    return {_key(address): _owner(name) for address, name in path.owners.items()}


def _subnets(path: FastPath) -> Entries:
    return {_key(first): _subnet(subnet) for first, subnet in path.subnets.items()}


def _subnet(subnet: Subnet) -> bytes:
    return _SUBNET.pack(bytes.fromhex(subnet.mac.replace(":", "")), subnet.open)


def _owner(name: str) -> bytes:
    """Hashes the owner's name. Posing as another owner takes a name with the same 8 bytes: 2^64 tries."""
    return hashlib.blake2b(name.encode(), digest_size=_OWNER_BYTES).digest()


def _key(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET, address)
