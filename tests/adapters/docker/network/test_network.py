"""Each owner has a network while it is needed, apart from all others; the one that all shared is left."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.errors import ContainerFailed, DockerError, NetworkUnavailable
from netvps.adapters.docker.network import network
from netvps.adapters.docker.network.network import SessionNetworks, subnets
from netvps.domain.runner.docker_names import (
    LABEL_MANAGED,
    LABEL_NODE,
    NETWORK_SUBNET,
    SHARED_NETWORK,
    container_name,
    isolated_bridge,
    isolated_network,
    session_labels,
)
from tests.support.images import busybox_archive, import_image

UID, NODE = "0123456789abc", "runner1"


def test_subnets_of_a_network() -> None:
    assert subnets({"IPAM": {"Config": [{"Subnet": "192.0.2.0/24"}]}}) == ["192.0.2.0/24"]
    assert subnets({"IPAM": None}) == []


class Engine:
    """Networks of an engine, by name, and the containers on each; what it refuses is raised once for each."""

    def __init__(self) -> None:
        self.there: dict[str, dict[str, Any]] = {}
        self.on: dict[str, list[dict[str, Any]]] = {}
        self.refusals: list[DockerError] = []

    async def call(self, _: str, function: Callable[[Engine], object]) -> object:
        return function(self)

    def add(self, name: str, subnet: str, labels: dict[str, str]) -> None:
        pool = {"Config": [{"Subnet": subnet}]}
        self.there[name] = {"Name": name, "Id": f"id-{name}", "IPAM": pool, "Labels": labels}

    def networks(self) -> list[dict[str, Any]]:
        return list(self.there.values())

    def create_network(self, name: str, _: str, *, ipam: Any, labels: dict[str, str], **__: object) -> None:
        if self.refusals:
            raise self.refusals.pop()
        self.add(name, ipam["Config"][0]["Subnet"], labels)

    def remove_network(self, network: str) -> None:
        del self.there[network.removeprefix("id-")]

    def containers(self, *, filters: dict[str, Any], **_: object) -> list[dict[str, Any]]:
        wanted = filters["network"] if isinstance(filters["network"], list) else [filters["network"]]
        return [one for name, on_it in self.on.items() if f"id-{name}" in wanted for one in on_it]

    def disconnect_container_from_network(self, container: str, name: str, **_: object) -> None:
        self.on[name] = [one for one in self.on[name] if one["Id"] != container]

    def networks_of(self) -> SessionNetworks:
        return SessionNetworks(cast("Docker", self), NODE)

    def subnet_of(self, owner: str) -> str:
        return subnets(self.there[isolated_network(NODE, owner)])[0]


def container(name: str, network: str, node: str = NODE) -> dict[str, Any]:
    labels = session_labels(name.removeprefix("netvps-vps-"), node, 1, 1)
    return {"Id": name, "Names": [f"/{name}"], "Labels": labels, "NetworkSettings": {"Networks": {network: {}}}}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_PAUSES", (0.0,))


async def test_each_owner_gets_a_network_with_a_subnet_of_its_own() -> None:
    engine = Engine()
    engine.add("theirs", "172.30.4.0/24", {})
    for owner in ("ann", "bob", "ann"):
        await engine.networks_of().ensure(owner)
    assert (engine.subnet_of("ann"), engine.subnet_of("bob")) == ("172.30.0.0/22", "172.30.8.0/22")
    assert len(engine.there) == 3


@pytest.mark.parametrize("refusal", [NetworkUnavailable, ContainerFailed])
async def test_what_another_runner_of_the_machine_takes_meanwhile_is_no_failure(refusal: type[DockerError]) -> None:
    engine = Engine()
    engine.refusals = [refusal("another one was quicker")]
    await engine.networks_of().ensure("ann")
    assert engine.subnet_of("ann")


async def test_a_foreign_network_of_that_name_is_refused_and_stays() -> None:
    engine = Engine()
    name = isolated_network(NODE, "ann")
    engine.add(name, "192.0.2.0/24", {LABEL_NODE: "another"})
    with pytest.raises(NetworkUnavailable, match=f"docker network rm {name}"):
        await engine.networks_of().ensure("ann")
    await engine.networks_of().release()
    assert list(engine.there) == [name]


async def test_who_has_all_addresses_is_named() -> None:
    engine = Engine()
    engine.add("theirs", NETWORK_SUBNET, {})
    with pytest.raises(NetworkUnavailable, match=r"no subnet of 172\.30\.0\.0/16 is free; remove .*: theirs"):
        await engine.networks_of().ensure("ann")


async def test_only_unused_networks_of_this_runner_are_removed() -> None:
    engine = Engine()
    for owner in ("ann", "bob"):
        await engine.networks_of().ensure(owner)
    engine.add("theirs", "192.0.2.0/24", {LABEL_NODE: NODE})
    ann = isolated_network(NODE, "ann")
    engine.on = {ann: [container(container_name(UID), ann)]}
    await engine.networks_of().release()
    assert sorted(engine.there) == sorted([ann, "theirs"])


async def test_the_network_that_all_owners_shared_is_left_and_removed() -> None:
    engine = Engine()
    engine.add(SHARED_NETWORK, NETWORK_SUBNET, {LABEL_MANAGED: "true"})
    engine.on = {SHARED_NETWORK: [container(container_name(UID), SHARED_NETWORK)]}
    await engine.networks_of().ensure("ann")
    assert list(engine.there) == [isolated_network(NODE, "ann")]


@pytest.mark.parametrize(
    "other", [container("golden", SHARED_NETWORK), container(container_name(UID), SHARED_NETWORK, "runner2")]
)
async def test_no_session_is_taken_off_it_while_others_are_on_it(other: dict[str, Any]) -> None:
    engine = Engine()
    engine.add(SHARED_NETWORK, NETWORK_SUBNET, {LABEL_MANAGED: "true"})
    engine.on = {SHARED_NETWORK: [container(container_name("0123456789abd"), SHARED_NETWORK), other]}
    with pytest.raises(NetworkUnavailable, match=other["Id"]):
        await engine.networks_of().ensure("ann")
    assert len(engine.on[SHARED_NETWORK]) == 2


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    reference = f"netvps-test-{secrets.token_hex(4)}:latest"
    import_image(busybox_archive(), reference)
    yield reference
    subprocess.run(["docker", "rmi", "-f", reference], stdout=subprocess.DEVNULL, check=False, timeout=60)


def _run(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout


class Site:
    """Containers on networks of owners."""

    def __init__(self, docker: Docker, image: str) -> None:
        self.docker = docker
        self.image = image
        self.node = f"test{secrets.token_hex(6)}"
        self.networks = SessionNetworks(docker, self.node)
        self.made: list[str] = []

    async def run(self, owner: str) -> tuple[str, str]:
        """Starts a container that serves on port 8000; returns its name, and its address."""
        async with self.networks.lock:
            await self.networks.ensure(owner)
        name, on = f"{self.node}-{len(self.made)}", self.networks.name(owner)

        def start(api: Any) -> str:
            config = api.create_host_config(network_mode=on)
            serve = ["sh", "-c", "while :; do echo theirs | nc -l -p 8000; done"]
            api.create_container(self.image, serve, name=name, hostname=owner, host_config=config)
            self.made.append(name)
            api.start(name)
            return str(api.inspect_container(name)["NetworkSettings"]["Networks"][on]["IPAddress"])

        return name, await self.docker.call(name, start)

    async def exec(self, name: str, command: str) -> str:
        def run(api: Any) -> str:
            made = api.exec_create(name, ["sh", "-c", f"{command} 2>/dev/null"])
            return bytes(api.exec_start(made["Id"])).decode().strip()

        return await self.docker.call(name, run)


@pytest.fixture
async def site(image: str) -> AsyncIterator[Site]:
    docker = await Docker.open()
    site = Site(docker, image)
    try:
        yield site
    finally:
        for name in site.made:
            _run("docker", "rm", "-f", name)
        await site.networks.release()
        docker.close()


@pytest.mark.docker
async def test_docker_keeps_owners_apart_by_address_and_by_name_and_one_owner_s_together(site: Site) -> None:
    (ann, _), (ann2, near), (bob, far) = await site.run("ann"), await site.run("ann"), await site.run("bob")
    for target, reached in ((near, "theirs"), (ann2, "theirs"), (far, ""), (bob, "")):
        assert await site.exec(ann, f"nc -w 3 {target} 8000 </dev/null") == reached, target
    for name, named in ((ann2, True), (bob, False)):
        answer = await site.exec(ann, f"nslookup {name} 127.0.0.11 | sed 1,2d")
        assert ("Address" in answer) == named, answer
    links = _run("ip", "-br", "link")
    assert {isolated_bridge(site.networks.name(owner)) for owner in ("ann", "bob")} <= set(links.split())


@pytest.mark.docker
async def test_networks_go_with_their_last_container(site: Site) -> None:
    await site.run("ann")
    await site.networks.release()
    name = site.networks.name("ann")
    assert [one["Name"] for one in await site.networks._networks() if one["Name"] == name] == [name]
    _run("docker", "rm", "-f", site.made.pop())
    await site.networks.release()
    assert [one["Name"] for one in await site.networks._networks() if one["Name"] == name] == []
