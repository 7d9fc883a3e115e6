"""Nothing of the overlay is left in a namespace that had all of it."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.network.overlay_network import OverlayNetwork
from netvps.adapters.filter.firewalld import Firewalld
from netvps.adapters.filter.host import HostFilter
from netvps.adapters.filter.iptables import Iptables
from netvps.adapters.filter.nftables import Nftables
from netvps.adapters.filter.overlay import OverlayFilter
from netvps.adapters.netlink.kernel import NetlinkKernel
from netvps.domain.overlay.kernel.diff import diff
from netvps.domain.overlay.kernel.links import ObjectNames
from netvps.domain.overlay.kernel.plan import plan
from netvps.errors import NetvpsError, WrongState
from netvps.programs import purge as module
from netvps.programs.purge import purge
from tests.adapters.netlink.test_kernel import peer, view
from tests.support.namespaces import Namespace, namespace

pytestmark = [pytest.mark.netns, pytest.mark.docker]
NAMES = ObjectNames(network=f"nvt{secrets.token_hex(3)}-overlay")


@pytest.fixture
def host() -> Iterator[Namespace]:
    with namespace() as made:
        made.ip("link", "add", "eth0", "type", "veth", "peer", "name", "far")
        made.ip("address", "add", "192.0.2.1/24", "dev", "eth0")
        made.ip("link", "set", "eth0", "up")
        with made.inside():
            yield made


@pytest.fixture
async def network() -> AsyncIterator[OverlayNetwork]:
    docker = await Docker.open()
    yield OverlayNetwork(docker, NAMES)
    docker.close()


def traces(host: Namespace) -> str:
    nft = host.run("nft", "list", "tables") if shutil.which("nft") else ""
    return host.ip("address") + host.ip("route", "show", "table", "all") + host.ip("neighbour") + nft


async def test_nothing_is_left(host: Namespace, network: OverlayNetwork) -> None:
    host.run("iptables", "-S")
    before = host.links(), host.ip("-4", "-o", "address")
    async with NetlinkKernel() as kernel:
        seen = view(1, peer(2), peer(3))
        await OverlayFilter(Nftables(), Iptables(), Firewalld(), network.ports).load(seen)
        assert await kernel.apply(diff(plan(seen), await kernel.dump())) == []
        rules = host.run("iptables", "-S")
        assert await purge(kernel, network, NAMES, force=False) > 0
        assert await purge(kernel, network, NAMES, force=False) == 0
    assert host.run("iptables", "-S") != rules
    assert "NETVPS" not in host.run("iptables", "-S")
    assert not {"nv0", "nvbr0", "netvps"} & set(traces(host).replace(":", " ").split())
    assert (host.links(), host.ip("-4", "-o", "address")) == before


async def test_what_keeps_sessions_from_the_machine_goes_when_no_owner_has_a_network(
    host: Namespace, network: OverlayNetwork
) -> None:
    assert await HostFilter(Nftables()).ensure() == ""
    host.ip("link", "add", "nvi0", "type", "bridge")
    async with NetlinkKernel() as kernel:
        await purge(kernel, network, NAMES, force=False)
        assert "netvps-isolated" in traces(host)
        host.ip("link", "del", "nvi0")
        await purge(kernel, network, NAMES, force=False)
    assert "netvps-isolated" not in traces(host)


@pytest.mark.usefixtures("host")
async def test_not_while_a_runner_has_it(network: OverlayNetwork) -> None:
    async with NetlinkKernel() as runner, NetlinkKernel() as kernel:
        assert await runner.unable() == ""
        assert "another runner of this machine has nv0" in await kernel.unable()
        with pytest.raises(WrongState, match="a runner on this machine uses the overlay"):
            await purge(kernel, network, NAMES, force=True)


@pytest.mark.usefixtures("host")
async def test_not_while_containers_run_on_it() -> None:
    class Busy(OverlayNetwork):
        async def ports(self) -> dict[str, str]:
            return {"10.128.4.2": "veth1"}

    async with NetlinkKernel() as kernel:
        with pytest.raises(WrongState, match=r"1 containers run on network .*10.128.4.2.*: stop their sessions"):
            await purge(kernel, Busy(Docker(), NAMES), NAMES, force=False)


@pytest.mark.usefixtures("host")
def test_the_command_tells_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    """Not on this machine's engine, whose overlay may be in use."""
    assert module.main(["--docker-host", "unix:///nowhere"]) == 0
    printed = capsys.readouterr().err
    assert "Docker's network netvps-overlay may remain" in printed
    assert printed.endswith("the overlay was removed from this machine (0 kernel objects)\n")


@pytest.mark.usefixtures("host")
async def test_where_there_is_no_bridge_there_need_be_no_engine(capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = OverlayNetwork(Docker("unix:///nowhere"), NAMES)
    seen = replace(view(1, peer(2)), hosting=False)
    async with NetlinkKernel() as kernel:
        assert await kernel.apply(diff(plan(seen), await kernel.dump())) == []
        assert await purge(kernel, nowhere, NAMES, force=False) > 0
        assert await kernel.apply(diff(plan(view(1, peer(2))), await kernel.dump())) == []
        with pytest.raises(NetvpsError):
            await purge(kernel, nowhere, NAMES, force=False)
    assert "may remain" in capsys.readouterr().err
