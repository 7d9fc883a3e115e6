"""The network is there while it is needed, and heals."""

from __future__ import annotations

import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.network import SessionNetwork, subnets
from netvps.domain.docker_names import NETWORK, NETWORK_SUBNET


def test_subnets_of_a_network() -> None:
    assert subnets({"IPAM": {"Config": [{"Subnet": "192.0.2.0/24"}]}}) == ["192.0.2.0/24"]
    assert subnets({"IPAM": None}) == []


@pytest.mark.docker
async def test_it_is_made_once() -> None:
    docker = await Docker.open()
    network = SessionNetwork(docker)
    try:
        async with network.lock:
            await network.ensure()
            await network.ensure()
        found = await docker.call("network", lambda api: api.inspect_network(NETWORK))
        assert subnets(found) == [NETWORK_SUBNET]
        await network.release()
    finally:
        docker.close()
