"""What there is of a system, found behind its back: in Docker, in folders, in the kernel."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import docker

from netvps.domain.runner.docker_names import LABEL_NODE, LABEL_SESSION, is_isolated_network, isolated_bridge
from tests.history.record import End, Found

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from netvps.domain.runner.runner import RunnerView
    from netvps.domain.session.session import Session
    from tests.e2e.system import System


@dataclass(frozen=True)
class Place:
    """Where a runner keeps what is of its sessions."""

    node: str
    """Uid of the runner."""
    state: Path
    runtime: Path
    docker_host: str | None = None
    """None: the engine of this machine."""
    inside: tuple[str, ...] = ()
    """What comes before a command that is to run where its network is."""


@dataclass(frozen=True)
class Parts:
    """What a place has, each with the uid of a session."""

    containers: tuple[str, ...]
    running: tuple[str, ...]
    images: tuple[tuple[str, str], ...]
    others: tuple[tuple[str, str], ...]


def place_of(system: System) -> Place:
    """That of its only runner."""
    return Place(system.runner_uid(), system.state, system.runtime)


def parts_at(place: Place) -> Parts:
    """All that is there of sessions."""
    filters = {"label": f"{LABEL_NODE}={place.node}"}
    api = _engine(place)
    try:
        found = [one for one in api.containers(all=True, filters=filters) if LABEL_SESSION in one["Labels"]]
        # Not all: what a newer snapshot stands on is part of that, and not listed.
        images = [image for image in api.images(filters=filters) if LABEL_SESSION in (image["Labels"] or {})]
        volumes = api.volumes(filters=filters)["Volumes"] or []
    finally:
        api.close()
    return Parts(
        tuple(_session(c) for c in found),
        tuple(_session(c) for c in found if c["State"] == "running"),
        tuple((_session(i), name) for i in images for name in _names(i["RepoTags"])),
        (*((_session(v), f"volume {v['Name']}") for v in volumes), *_files(place)),
    )


def found_at_the_end(
    system: System, sessions: Iterable[Session], runners: Iterable[RunnerView], lost_files: Iterable[str]
) -> End:
    """All that the checker wants to know."""
    parts = parts_at(place_of(system))
    return End(
        tuple(Found(s.uid, str(s.full_name), str(s.desired), str(s.state), s.address, s.reason) for s in sessions),
        parts.containers,
        parts.images,
        tuple(runner.lease.cidr for runner in runners),
        tuple(lost_files),
        parts.running,
        parts.others,
    )


def _session(found: dict[str, Any]) -> str:
    return str(found["Labels"][LABEL_SESSION])


def _engine(place: Place) -> docker.APIClient:
    api = docker.APIClient(place.docker_host, version="1.40", timeout=60)
    api.trust_env = False  # it would read our environment, as `INHERITED` must not be
    return api


def _names(tags: list[str] | None) -> list[str]:
    """An image without a name counts, too."""
    return [tag for tag in tags or () if tag != "<none>:<none>"] or [""]


def _files(place: Place) -> Iterator[tuple[str, str]]:
    for folder in (place.runtime / "sessions", place.state / "runner/logs"):
        for path in folder.glob("*"):
            yield path.name.partition(".")[0], str(path)
    for folder in (place.state / "runner/copies", place.state / "runner/last_runs"):
        for path in folder.glob("*.*"):
            yield re.split(r"[.-]", path.name)[0], str(path)
    kept = place.state / "runner/assignments.json"
    if kept.exists():
        for assignment in json.loads(kept.read_text())["assignments"]:
            yield assignment["session_uid"], str(kept)


def strays(place: Place) -> list[str]:
    """A runner's networks of owners without a container, and cables in them that lead to none."""
    api = _engine(place)
    try:
        managed = api.networks(filters={"label": f"{LABEL_NODE}={place.node}"})
        names = [one["Name"] for one in managed if is_isolated_network(one["Name"])]
        return [stray for name in names for stray in _strays(api, name, place.inside)]
    finally:
        api.close()


def _strays(api: docker.APIClient, name: str, inside: tuple[str, ...]) -> list[str]:
    try:
        network = api.inspect_network(name)
        on_it = api.containers(all=True, filters={"network": network["Id"]})
    except docker.errors.NotFound:
        return []
    bridge = isolated_bridge(name)
    shown = subprocess.run(
        [*inside, "ip", "-o", "link", "show", "master", bridge],
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )
    links = [line.split(": ")[1] for line in shown.stdout.splitlines()]
    return [*([] if on_it else [name]), *links[len(network["Containers"]) :]]
