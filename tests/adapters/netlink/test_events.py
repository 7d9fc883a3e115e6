"""What the kernel tells of changes, in a namespace of its own."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager

import pytest

from netvps.adapters.netlink.entries import Own
from netvps.adapters.netlink.events import Events
from netvps.domain.overlay.kernel import operations as op
from netvps.domain.overlay.kernel.links import ObjectNames, Route
from netvps.domain.overlay.kernel.operations import EntryChanged, KernelEvent, LinksChanged, PortChanged
from tests.support.namespaces import Namespace, namespace
from tests.support.patience import PATIENCE

pytestmark = pytest.mark.netns
MAC = "02:00:00:00:00:09"


@pytest.fixture
def host() -> Iterator[Namespace]:
    with namespace() as made:
        made.ip("link", "add", "nv0", "type", "vxlan", "id", "7", "dstport", "14789", "nolearning")
        made.ip("link", "add", "other", "type", "bridge")
        made.ip("link", "set", "nv0", "up")
        with made.inside():
            yield made


def index(host: Namespace, link: str) -> int:
    return int(host.ip("link", "show", link).split(":")[0])


@asynccontextmanager
async def listening(own: Own) -> AsyncIterator[AsyncGenerator[KernelEvent, None]]:
    async with aclosing(Events(ObjectNames(), lambda: own).stream()) as stream, asyncio.timeout(PATIENCE):
        assert await anext(stream) == LinksChanged("the subscription begins")
        yield stream


async def test_own_entries_are_reported_as_operations(host: Namespace) -> None:
    async with listening(Own(index(host, "nv0"), 201)) as events:
        host.run("bridge", "fdb", "add", MAC, "dev", "nv0", "dst", "192.0.2.9", "self", "permanent")
        assert await anext(events) == EntryChanged(op.PutFdb(MAC, "192.0.2.9"))
        host.ip("neighbour", "add", "10.128.4.0", "lladdr", MAC, "dev", "nv0", "nud", "permanent")
        assert await anext(events) == EntryChanged(op.PutNeighbour("10.128.4.0", MAC))
        route = ("10.128.4.0/22", "via", "10.128.4.0", "dev", "nv0", "onlink", "mtu", "1400", "proto", "201")
        host.ip("route", "add", *route)
        assert await anext(events) == EntryChanged(op.PutRoute("10.128.4.0/22", Route("10.128.4.0", 1400)))
        host.ip("route", "delete", *route[:5])
        assert await anext(events) == EntryChanged(op.DropRoute("10.128.4.0/22"))
        host.ip("neighbour", "delete", "10.128.4.0", "dev", "nv0")
        assert await anext(events) in {  # the kernel tells of its state going first
            EntryChanged(op.DropNeighbour("10.128.4.0")),
            EntryChanged(op.PutNeighbour("10.128.4.0", MAC)),
        }


async def test_what_is_foreign_is_not_reported(host: Namespace) -> None:
    async with listening(Own(index(host, "nv0"), 201)) as events:
        host.ip("link", "set", "other", "up")
        host.ip("route", "add", "198.51.100.0/24", "dev", "other")
        host.ip("neighbour", "add", "198.51.100.7", "lladdr", MAC, "dev", "other", "nud", "permanent")
        host.ip("link", "set", "nv0", "down")
        assert await anext(events) == LinksChanged("link nv0 changed")


async def test_addresses_of_the_machine_and_ports_of_the_bridge_are(host: Namespace) -> None:
    async with listening(Own(index(host, "nv0"), 201, bridge=index(host, "other"))) as events:
        host.ip("address", "add", "192.0.2.1/24", "dev", "other")
        assert await anext(events) == LinksChanged("an address of this machine changed")
        host.ip("link", "add", "port", "type", "veth", "peer", "name", "far")
        host.ip("link", "set", "port", "master", "other")
        assert await anext(events) == PortChanged("port")


async def test_that_the_bridge_is_to_forget_is_reported(host: Namespace) -> None:
    host.ip("link", "add", "nvbr0", "up", "type", "bridge")
    async with listening(Own(index(host, "nv0"), 201, bridge=index(host, "nvbr0"))) as events:
        host.ip("link", "set", "nvbr0", "type", "bridge", "ageing_time", "30000")
        assert await anext(events) == LinksChanged("link nvbr0 changed")


async def test_news_that_were_lost_are_reported_as_such(host: Namespace) -> None:
    class Full:
        def recv(self, _size: int) -> bytes:
            raise OSError(errno.ENOBUFS, "No buffer space available")

        def fileno(self) -> int:
            return real.fileno()

        def close(self) -> None:
            real.close()

    events = Events(ObjectNames(), lambda: Own(index(host, "nv0"), 201))
    async with aclosing(events.stream()) as stream, asyncio.timeout(PATIENCE):
        await anext(stream)
        real = events._socket
        events._socket = Full()  # type: ignore[assignment]
        host.ip("link", "set", "nv0", "down")
        assert await anext(stream) == LinksChanged("notifications of the kernel were lost")
        host.ip("link", "set", "nv0", "up")
        assert await anext(stream) == LinksChanged("link nv0 changed")
        assert real.fileno() == -1
