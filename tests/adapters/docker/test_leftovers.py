"""Things are found by their labels, whatever they are."""

from __future__ import annotations

import secrets

import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.leftovers import Leftovers, Thing
from netvps.domain.docker_names import session_labels


@pytest.mark.docker
async def test_a_volume_alone_is_found_and_removed() -> None:
    docker, node = await Docker.open(), f"test{secrets.token_hex(6)}"
    leftovers = Leftovers(docker, node)
    labels = session_labels("0123456789abc", node, 1, 1)
    await docker.call("volume", lambda api: api.create_volume(f"netvps-test-{node}", labels=labels))
    try:
        assert await leftovers.sessions() == {"0123456789abc"}
        assert await leftovers.containers("0123456789abc") == []
        assert await leftovers.things() == [Thing("0123456789abc", "volume", f"netvps-test-{node}")]
        assert await Leftovers(docker, "another").sessions() == frozenset()
    finally:
        await leftovers.remove_volumes("0123456789abc")
        assert await leftovers.sessions() == frozenset()
        docker.close()
