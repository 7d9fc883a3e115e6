"""Containers on the overlay's network, with an address and a MAC of ours; what is said to engines old and new."""

from __future__ import annotations

import asyncio
import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from docker.types import EndpointConfig, NetworkingConfig

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.containers.attachments import Attachments
from netvps.adapters.docker.errors import OverlayUnavailable
from netvps.adapters.docker.network.network import SessionNetworks
from netvps.domain.overlay.settings import bridge_address, session_addresses, session_mac
from netvps.domain.runner.docker_names import isolated_network
from netvps.domain.session.attachment import Attachment, Net
from tests.adapters.docker.overlay import OverlayNetwork, overlay_network
from tests.support.images import busybox_archive, import_image

HERE = Attachment(Net.OVERLAY, "10.128.4.2")
MOVED = Attachment(Net.OVERLAY, "10.128.0.2", "10.128.4.2")
OPTIONS = {"netvps.address": "10.128.0.2"}
ANNS = Attachment(Net.ISOLATED, owner="ann")
ANNS_NETWORK = isolated_network("test-node", "ann")


class Spoken:
    """The library, speaking some version of the API."""

    def __init__(self, version: str) -> None:
        self.api_version = version

    def create_endpoint_config(self, **given: Any) -> EndpointConfig:
        return EndpointConfig(self.api_version, **given)

    def create_networking_config(self, endpoints: Any) -> NetworkingConfig:
        return NetworkingConfig(endpoints)


def attachments(overlay: str = "nv-test") -> Attachments:
    engine = Docker("unix:///nowhere")
    return Attachments(engine, SessionNetworks(engine, "test-node"), overlay)


@pytest.mark.parametrize(
    ("version", "endpoint"),
    [
        ("1.41", {"IPAMConfig": {"IPv4Address": "10.128.4.2"}}),
        ("1.43", {"IPAMConfig": {"IPv4Address": "10.128.4.2"}}),
        ("1.44", {"IPAMConfig": {"IPv4Address": "10.128.4.2"}, "MacAddress": "02:42:0a:80:04:02"}),
        ("1.51", {"IPAMConfig": {"IPv4Address": "10.128.4.2"}, "MacAddress": "02:42:0a:80:04:02"}),
    ],
)
def test_an_engine_is_given_the_mac_unless_it_derives_the_same(version: str, endpoint: dict[str, object]) -> None:
    made = attachments().creation(Spoken(version), HERE)
    assert made == {"networking_config": {"EndpointsConfig": {"nv-test": endpoint}}}


@pytest.mark.parametrize(("version", "mac"), [("1.41", {}), ("1.44", {"MacAddress": "02:42:0a:80:00:02"})])
def test_an_engine_is_given_the_local_address_and_the_other_as_an_option(version: str, mac: dict[str, str]) -> None:
    made = attachments().creation(Spoken(version), MOVED)
    endpoint = {"IPAMConfig": {"IPv4Address": "10.128.4.2"}, "DriverOpts": {"netvps.address": "10.128.0.2"}, **mac}
    assert made == {"networking_config": {"EndpointsConfig": {"nv-test": endpoint}}}


def test_elsewhere_the_engine_chooses() -> None:
    assert attachments().creation(Spoken("1.51"), ANNS) == {}
    modes = [attachments().mode(to) for to in (Attachment(Net.NONE), ANNS, HERE)]
    assert modes == ["none", ANNS_NETWORK, "nv-test"]


@pytest.mark.parametrize(
    ("networks", "attachment", "address"),
    [
        ({}, Attachment(Net.NONE), ""),
        ({"none": {"IPAddress": ""}}, Attachment(Net.NONE), ""),
        ({ANNS_NETWORK: {"IPAddress": "172.30.0.2"}}, ANNS, "172.30.0.2"),
        ({"netvps-net": {"IPAddress": "172.30.0.2"}}, Attachment(Net.SHARED), "172.30.0.2"),
        ({isolated_network("test-node", "bob"): {"IPAddress": "172.30.4.2"}}, Attachment(Net.OTHER), "172.30.4.2"),
        ({"nv-test": {"IPAMConfig": {"IPv4Address": "10.128.4.2"}, "IPAddress": ""}}, HERE, ""),
        ({"nv-test": {"IPAMConfig": None, "IPAddress": "10.128.4.2"}}, HERE, "10.128.4.2"),
        (
            {"nv-test": {"IPAMConfig": {"IPv4Address": "10.128.4.2"}, "IPAddress": "", "DriverOpts": OPTIONS}},
            MOVED, "",
        ),
        (
            {"nv-test": {"IPAMConfig": None, "IPAddress": "10.128.4.2", "DriverOpts": OPTIONS}},
            MOVED, "10.128.0.2",
        ),
        ({"else": {"IPAddress": "192.0.2.9"}}, Attachment(Net.OTHER), "192.0.2.9"),
        # It was put on a foreign network by hand, too.
        (
            {"a": {"IPAddress": "192.0.2.9"}, "nv-test": {"IPAMConfig": None, "IPAddress": "10.128.4.2"}},
            HERE, "10.128.4.2",
        ),
    ],
)  # fmt: skip
def test_where_a_container_is(networks: dict[str, Any], attachment: Attachment, address: str) -> None:
    assert attachments().seen(networks, "ann") == attachment
    assert attachments().address(networks) == address


@dataclass
class Site:
    """A container that never started, and the means to look at it."""

    docker: Docker
    overlay: OverlayNetwork
    attachments: Attachments
    container: str

    async def networks(self) -> dict[str, Any]:
        found = await asyncio.to_thread(lambda: self.docker.api.inspect_container(self.container))
        return dict(found["NetworkSettings"]["Networks"])


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    reference = f"netvps-test-{secrets.token_hex(4)}:latest"
    import_image(busybox_archive(), reference)
    yield reference
    subprocess.run(["docker", "rmi", "-f", reference], stdout=subprocess.DEVNULL, check=False, timeout=60)


@pytest.fixture
async def site(image: str) -> AsyncIterator[Site]:
    engine = await Docker.open()
    try:
        with overlay_network() as overlay:
            own = Attachments(engine, SessionNetworks(engine, "test-node"), overlay.name)
            first = Attachment(Net.OVERLAY, overlay.address(0))

            def make() -> str:
                api = engine.api
                config = api.create_host_config(network_mode=own.mode(first))
                made = api.create_container(image, ["sleep", "60"], host_config=config, **own.creation(api, first))
                return str(made["Id"])

            container = await asyncio.to_thread(make)
            try:
                yield Site(engine, overlay, own, container)
            finally:
                await asyncio.to_thread(lambda: engine.api.remove_container(container, force=True))
                await SessionNetworks(engine, "test-node").release()
    finally:
        engine.close()


@pytest.mark.docker
async def test_a_container_has_its_address_from_before_its_first_start_and_the_mac_with_it(site: Site) -> None:
    first = Attachment(Net.OVERLAY, site.overlay.address(0))
    assert site.attachments.seen(await site.networks(), "ann") == first
    await asyncio.to_thread(lambda: site.docker.api.start(site.container))
    networks = await site.networks()
    assert site.attachments.seen(networks, "ann") == first
    assert site.attachments.address(networks) == first.address
    assert networks[site.overlay.name]["MacAddress"] == session_mac(first.address)


@pytest.mark.docker
async def test_it_moves_whether_it_runs_or_not(site: Site) -> None:
    seen: Attachment | None = None
    for to in (
        Attachment(Net.OVERLAY, site.overlay.address(1)),
        Attachment(Net.OVERLAY, site.overlay.address(1)),
        Attachment(Net.NONE),
        ANNS,
        Attachment(Net.OVERLAY, "10.128.0.2", site.overlay.address(3)),
        Attachment(Net.OVERLAY, site.overlay.address(2)),
    ):
        await site.attachments.move(site.container, to, seen)
        seen = site.attachments.seen(await site.networks(), "ann")
        assert seen == to
    await asyncio.to_thread(lambda: site.docker.api.start(site.container))
    networks = await site.networks()
    assert list(networks) == [site.overlay.name]
    assert site.attachments.address(networks) == site.overlay.address(2)
    assert networks[site.overlay.name]["MacAddress"] == session_mac(site.overlay.address(2))
    await site.attachments.move(site.container, ANNS, seen)
    networks = await site.networks()
    assert site.attachments.seen(networks, "ann") == ANNS
    assert site.attachments.address(networks).startswith("172.30.")


@pytest.mark.docker
async def test_an_overlay_that_is_not_there_or_has_another_subnet_is_waited_for(site: Site) -> None:
    assert await site.attachments.bridge(site.overlay.address(0)) == bridge_address(site.overlay.subnet)
    with pytest.raises(OverlayUnavailable, match="does not contain 203"):
        await site.attachments.bridge("203.0.113.7")
    missing = Attachments(site.docker, SessionNetworks(site.docker, "test-node"), site.overlay.name[:-1])
    with pytest.raises(OverlayUnavailable, match="not ready"):
        await missing.bridge(site.overlay.address(0))


def test_addresses_of_the_test_are_those_of_sessions() -> None:
    network = OverlayNetwork("n", "10.128.4.0/24")
    assert network.address(0) == "10.128.4.2"
    assert len(session_addresses(network.subnet)) == 253
