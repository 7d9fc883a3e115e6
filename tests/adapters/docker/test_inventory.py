"""Objects are netvps's by labels and names together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.inventory import Inventory
from netvps.domain.runner.docker_names import (
    LABEL_MANAGED,
    LABEL_NODE,
    SHARED_NETWORK,
    container_name,
    isolated_network,
    session_labels,
    volume_name,
)

UID = "0123456789abc"
OWN = {LABEL_MANAGED: "true"}


class Engine:
    """An engine with objects of two runners, and some that only look like that."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    async def call(self, _: str, function: Callable[[Any], Any]) -> Any:
        return function(self)

    call_slowly = call

    def containers(self, filters: dict[str, Any], **_: object) -> list[dict[str, Any]]:
        labels = session_labels(UID, "box1", 1, 1)
        names = [[f"/{container_name(UID)}"], ["/by-hand"]]
        found: list[dict[str, Any]] = [{"Names": name, "Labels": labels} for name in names]
        return [one for one in found if _matches(one, filters)]

    def images(self, filters: dict[str, Any]) -> list[dict[str, Any]]:
        environment = OWN | {"netvps.type": "env"}
        found: list[dict[str, Any]] = [
            {"RepoTags": ["netvps/debian:latest", "mine:1"], "Labels": environment},
            {"RepoTags": ["netvps/pulled:1"], "Labels": OWN},
            {"RepoTags": None, "Labels": environment},
        ]
        return [one for one in found if _matches(one, filters)]

    def volumes(self, filters: dict[str, Any]) -> dict[str, Any]:
        labels = session_labels(UID, "box2", 1, 1)
        found: list[dict[str, Any]] = [
            {"Name": volume_name(UID, "/data"), "Labels": labels},
            {"Name": "mine", "Labels": labels},
        ]
        return {"Volumes": [one for one in found if _matches(one, filters)] or None}

    def networks(self, **_: object) -> list[dict[str, Any]]:
        names = (SHARED_NETWORK, isolated_network("box3", "ann"), "mine")
        return [{"Name": name, "Labels": OWN | {LABEL_NODE: "box3"}} for name in names]

    def remove_image(self, reference: str) -> None:
        self.removed.append(reference)


def _matches(one: dict[str, Any], filters: dict[str, Any]) -> bool:
    asked = filters["label"]
    wanted = dict(word.split("=", 1) for word in ([asked] if isinstance(asked, str) else asked))
    return bool(wanted.items() <= one["Labels"].items())


@pytest.fixture
def engine() -> Engine:
    return Engine()


async def test_what_every_runner_of_the_machine_made_is_found(engine: Engine) -> None:
    inventory = Inventory(cast("Docker", engine))
    assert await inventory.nodes() == ["box1", "box2", "box3"]
    found = {(thing.kind, thing.name) for thing in await inventory.of_sessions()}
    assert found == {("container", container_name(UID)), ("volume", volume_name(UID, "/data"))}
    assert await inventory.networks() == sorted([SHARED_NETWORK, isolated_network("box3", "ann")])


async def test_an_environment_is_what_was_made_here(engine: Engine) -> None:
    inventory = Inventory(cast("Docker", engine))
    assert await inventory.environments() == ["netvps/debian:latest"]
    await inventory.remove_environment("netvps/debian:latest")
    assert engine.removed == ["netvps/debian:latest"]
