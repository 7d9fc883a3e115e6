"""Images and containers made by hand of a session carry its labels: they are not taken for its own, nor removed."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import docker.errors
import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.engine import DockerEngine
from netvps.adapters.docker.errors import ContainerNameTaken, ContainerNotFound
from netvps.adapters.docker.events import Events
from netvps.adapters.docker.files.debootstrap import _clean
from netvps.adapters.docker.leftovers import Leftover, Leftovers
from netvps.domain.runner.docker_names import (
    LABEL_MANAGED,
    LABEL_RUN,
    LABEL_SNAPSHOT,
    SHARED_NETWORK,
    container_name,
    environment_maker,
    flatten_name,
    isolated_network,
    session_labels,
    snapshot_image,
    unfinished_image,
    volume_name,
)
from netvps.domain.session.container import Observed
from netvps.domain.session.session import Assignment, DesiredState
from netvps.domain.session.spec import SessionSpec

UID, OTHER, NODE = "0123456789abc", "0123456789abd", "runner1"
LABELS = session_labels(UID, NODE, 1, 1) | {LABEL_SNAPSHOT: "s1", LABEL_RUN: "r"}
WANT = Assignment(UID, "dev1", "ann", 1, 1, DesiredState.STOPPED, SessionSpec(image="debian:12"), None, 1)


class Engine:
    """An engine with these things in it, each with the labels of a session; it notes what is removed."""

    def __init__(self, *, containers: dict[str, str] | None = None, images: dict[str, list[str]] | None = None) -> None:
        """`containers` by name, with their ids; `images` by id, with their names."""
        self._containers = containers or {}
        self._images = images or {}
        self.named_volumes: list[str] = []
        self.network_labels: dict[str, str] = {}
        self.labels = LABELS
        self.removed: list[str] = []
        self.stream_api = self

    async def call(self, _: str, function: Callable[[Any], Any], *__: object, **___: object) -> Any:
        return function(self)

    call_slowly = call

    def containers(self, **_: object) -> list[dict[str, Any]]:
        return [{"Id": i, "Names": [f"/{name}"], "Labels": self.labels} for name, i in self._containers.items()]

    def images(self, **_: object) -> list[dict[str, Any]]:
        return [
            {"Id": image, "RepoTags": names, "Labels": self.labels, "Created": 1}
            for image, names in self._images.items()
        ]

    def volumes(self, **_: object) -> dict[str, Any]:
        return {"Volumes": [{"Name": name, "Labels": self.labels} for name in self.named_volumes]}

    def inspect_container(self, name: str) -> dict[str, Any]:
        if name not in self._containers:
            raise docker.errors.NotFound("no such container")
        return {"Id": self._containers[name], "Name": f"/{name}", "Config": {"Labels": self.labels}}

    def inspect_image(self, name: str) -> dict[str, Any]:
        return {
            "Id": name, "Size": 1, "Created": "2026-11-21T07:12:41Z", "RootFS": {"Layers": ["a"]},
            "Config": {"Labels": self.labels},
        }  # fmt: skip

    def networks(self, **_: object) -> list[dict[str, Any]]:
        names = (SHARED_NETWORK, isolated_network(NODE, "ann"), "theirs")
        return [{"Id": name, "Name": name, "Labels": self.network_labels} for name in names]

    def remove_container(self, container: str, **_: object) -> None:
        self.removed.append(container)

    def remove_image(self, image: str, **_: object) -> None:
        self.removed.append(image)

    def remove_volume(self, volume: str, **_: object) -> None:
        self.removed.append(volume)

    def remove_network(self, network: str, **_: object) -> None:
        self.removed.append(network)

    @property
    def as_docker(self) -> Docker:
        return cast("Docker", self)


def foreign_engine() -> Engine:
    """What an admin has made of a session: every thing has all of its labels, and a name that no runner gives."""
    engine = Engine(
        containers={
            "golden": "c1", f"{container_name(UID)}-copy": "c2", f"x{container_name(UID)}": "c3",
            container_name(OTHER): "c4", flatten_name(OTHER): "c5",
        },
        images={
            "sha256:1": ["golden:1", "golden:2"],
            "sha256:2": ["<none>:<none>"],
            "sha256:3": [],
            "sha256:4": [snapshot_image(OTHER, 7), unfinished_image(OTHER, "s1")],
            "sha256:5": [f"registry.example/{snapshot_image(UID, 7)}", f"{snapshot_image(UID, 7)}-old"],
        },
    )  # fmt: skip
    engine.named_volumes = ["data", f"{container_name(UID)}-data", volume_name(OTHER, "/data")]
    return engine


async def _erase(engine: DockerEngine) -> None:
    await engine.erase(UID)


async def _erase_recorded(engine: DockerEngine) -> None:
    await engine.erase(UID, "sha256:1")  # has another's name by now


async def _tidy(engine: DockerEngine) -> None:
    await engine.tidy(WANT)


async def _owned(engine: DockerEngine) -> None:
    assert await engine.owned() == frozenset()
    assert await engine.things() == []


async def _look(engine: DockerEngine) -> None:
    assert await engine.inspect(WANT) == Observed()


async def _logs(engine: DockerEngine) -> None:
    with pytest.raises(ContainerNotFound):
        [piece async for piece in engine.logs(UID, 10, follow=False)]


@pytest.mark.parametrize("act", [_erase, _erase_recorded, _tidy, _owned, _look, _logs])
async def test_an_image_made_by_hand_of_a_session_is_neither_seen_nor_touched(
    act: Callable[[DockerEngine], Awaitable[None]],
) -> None:
    engine = foreign_engine()
    await act(DockerEngine(engine.as_docker, node=NODE, node_name="here", copies=Path("/nonexistent")))
    assert engine.removed == []


@pytest.mark.parametrize("labels", [{}, LABELS | {"netvps.node": "another"}, LABELS | {"netvps.session_id": OTHER}])
async def test_a_name_alone_is_not_enough_either(labels: dict[str, str]) -> None:
    fake = Engine(
        containers={container_name(UID): "c1", flatten_name(UID): "c2", environment_maker("debian"): "c3"},
        images={"sha256:1": [snapshot_image(UID, 7), unfinished_image(UID, "s1")]},
    )
    fake.named_volumes = [volume_name(UID, "/data")]
    fake.labels = labels
    engine = DockerEngine(fake.as_docker, node=NODE, node_name="here", copies=Path("/nonexistent"))
    with pytest.raises(ContainerNameTaken):
        await engine.inspect(WANT)
    await _logs(engine)
    for act in (_erase, _tidy, _owned):
        await act(engine)
    await engine._snapshots.remove_helper(UID)
    await _clean(fake.as_docker, environment_maker("debian"))
    assert fake.removed == []


async def test_names_with_labels_are_removed_and_nothing_beside_them() -> None:
    engine = foreign_engine()
    engine._containers |= {container_name(UID): "own", flatten_name(UID): "helper"}
    engine._images |= {
        "sha256:8": [snapshot_image(UID, 7), "golden:3"],
        "sha256:9": [unfinished_image(UID, "s2")],
        "sha256:a": ["<none>:<none>"],
    }
    engine.named_volumes.append(volume_name(UID, "/data"))
    ours = DockerEngine(engine.as_docker, node=NODE, node_name="here", copies=Path("/nonexistent"))
    assert await ours.owned() == {UID}
    await ours.erase(UID, "sha256:a")
    names = [snapshot_image(UID, 7), unfinished_image(UID, "s2"), "sha256:a", volume_name(UID, "/data")]
    assert engine.removed == ["own", "helper", *names]


@pytest.mark.parametrize(
    ("name", "woken"),
    [(container_name(UID), [UID]), ("golden", []), (container_name(OTHER), []), (f"{container_name(UID)}-copy", [])],
)
def test_events_of_foreign_containers_wake_no_session(name: str, woken: list[str]) -> None:
    heard: list[str] = []
    event = {"Action": "die", "Actor": {"Attributes": LABELS | {"name": name}}}
    Events(Engine().as_docker, NODE)._report(event, heard.append)
    assert heard == woken


@pytest.mark.parametrize(
    ("labels", "removed"),
    [
        ({}, []),
        ({LABEL_MANAGED: "true", "netvps.node": "another"}, [SHARED_NETWORK]),
        ({LABEL_MANAGED: "true", "netvps.node": NODE}, [SHARED_NETWORK, isolated_network(NODE, "ann")]),
    ],
)
async def test_a_network_is_removed_for_its_labels_and_its_name_together(
    labels: dict[str, str], removed: list[str]
) -> None:
    engine = Engine()
    engine.network_labels = labels
    await DockerEngine(engine.as_docker, node=NODE, node_name="here", copies=Path("/nonexistent")).erase(UID)
    assert engine.removed == removed


@pytest.mark.docker
async def test_a_volume_alone_is_found_and_removed() -> None:
    docker, node = await Docker.open(), f"test{secrets.token_hex(6)}"
    leftovers = Leftovers(docker, node)
    labels, name = session_labels(UID, node, 1, 1), volume_name(UID, f"/{node}")
    await docker.call("volume", lambda api: api.create_volume(name, labels=labels))
    try:
        assert await leftovers.sessions() == {UID}
        assert await leftovers.containers(UID) == []
        assert await leftovers.things() == [Leftover(UID, "volume", name)]
        assert await Leftovers(docker, "another").sessions() == frozenset()
    finally:
        await leftovers.remove_volumes(UID)
        assert await leftovers.sessions() == frozenset()
        docker.close()
