"""The network is there while it is needed, and heals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.adapters.docker import network
from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.errors import ContainerFailed, ContainerNotFound, DockerError, NetworkUnavailable
from netvps.adapters.docker.network import SessionNetwork, subnets
from netvps.domain.docker_names import NETWORK, NETWORK_SUBNET

if TYPE_CHECKING:
    from collections.abc import Callable


def test_subnets_of_a_network() -> None:
    assert subnets({"IPAM": {"Config": [{"Subnet": "192.0.2.0/24"}]}}) == ["192.0.2.0/24"]
    assert subnets({"IPAM": None}) == []


class OtherRunner:
    """An engine in which another runner makes the network while we try to."""

    def __init__(self, refusal: type[DockerError]) -> None:
        self.refusal = refusal
        self.subnet = NETWORK_SUBNET
        self.made = False

    async def call(self, subject: str, function: Callable[[OtherRunner], object]) -> object:
        return function(self)

    def inspect_network(self, name: str) -> object:
        if not self.made:
            raise ContainerNotFound("not yet")
        return {"IPAM": {"Config": [{"Subnet": self.subnet}]}}

    def create_network(self, *args: object, **options: object) -> None:
        self.made = True
        raise self.refusal("somebody was quicker")


@pytest.mark.parametrize("refusal", [NetworkUnavailable, ContainerFailed])
async def test_another_runner_of_the_machine_may_make_it_first(refusal: type[DockerError]) -> None:
    await SessionNetwork(OtherRunner(refusal)).ensure()  # type: ignore[arg-type]


async def test_what_somebody_else_made_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_PAUSES", (0.0,))
    other = OtherRunner(ContainerFailed)
    other.subnet = "192.0.2.0/24"
    with pytest.raises(NetworkUnavailable, match=r"192\.0\.2\.0/24 instead of"):
        await SessionNetwork(other).ensure()  # type: ignore[arg-type]


async def test_a_subnet_that_is_somebody_elses_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_PAUSES", (0.0,))

    class Taken(OtherRunner):
        def create_network(self, *args: object, **options: object) -> None:
            raise NetworkUnavailable("Pool overlaps")

    with pytest.raises(NetworkUnavailable, match="find what has it"):
        await SessionNetwork(Taken(NetworkUnavailable)).ensure()  # type: ignore[arg-type]


@pytest.mark.docker
async def test_it_is_made_once() -> None:
    docker = await Docker.open()
    ours = SessionNetwork(docker)
    try:
        async with ours.lock:
            await ours.ensure()
            await ours.ensure()
        found = await docker.call("network", lambda api: api.inspect_network(NETWORK))
        assert subnets(found) == [NETWORK_SUBNET]
        await ours.release()
    finally:
        docker.close()
