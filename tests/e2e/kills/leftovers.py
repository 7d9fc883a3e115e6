"""What there is of a system on this machine, found behind its back: in Docker, in folders, in the kernel."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import docker

from netvps.domain.runner.docker_names import LABEL_NODE, LABEL_SESSION, is_isolated_network, isolated_bridge
from tests.history.record import End, Found

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from netvps.domain.runner.runner import RunnerView
    from netvps.domain.session.session import Session
    from tests.e2e.system import System


def found_at_the_end(
    system: System, sessions: Iterable[Session], runners: Iterable[RunnerView], lost_files: Iterable[str]
) -> End:
    """All that the checker wants to know."""
    filters = {"label": f"{LABEL_NODE}={system.runner_uid()}"}
    api = _engine()
    try:
        found = api.containers(all=True, filters=filters)
        # Not all: what a newer snapshot stands on is part of that, and not listed.
        images = [image for image in api.images(filters=filters) if LABEL_SESSION in (image["Labels"] or {})]
        volumes = api.volumes(filters=filters)["Volumes"] or []
    finally:
        api.close()
    return End(
        tuple(Found(s.uid, str(s.full_name), str(s.desired), str(s.state), s.address, s.reason) for s in sessions),
        tuple(str(c["Labels"][LABEL_SESSION]) for c in found),
        tuple((str(i["Labels"][LABEL_SESSION]), name) for i in images for name in _names(i["RepoTags"])),
        tuple(runner.lease.cidr for runner in runners),
        tuple(lost_files),
        tuple(str(c["Labels"][LABEL_SESSION]) for c in found if c["State"] == "running"),
        (*((str(v["Labels"][LABEL_SESSION]), f"volume {v['Name']}") for v in volumes), *_files(system)),
    )


def _engine() -> docker.APIClient:
    api = docker.APIClient(version="1.40", timeout=60)
    api.trust_env = False  # it would read our environment, as `INHERITED` must not be
    return api


def _names(tags: list[str] | None) -> list[str]:
    """An image without a name counts, too."""
    return [tag for tag in tags or () if tag != "<none>:<none>"] or [""]


def _files(system: System) -> Iterator[tuple[str, str]]:
    for folder in (system.runtime / "sessions", system.state / "runner/logs"):
        for path in folder.glob("*"):
            yield path.name.partition(".")[0], str(path)
    for folder in (system.state / "runner/copies", system.state / "runner/last_runs"):
        for path in folder.glob("*.*"):
            yield re.split(r"[.-]", path.name)[0], str(path)
    kept = system.state / "runner/assignments.json"
    if kept.exists():
        for assignment in json.loads(kept.read_text())["assignments"]:
            yield assignment["session_uid"], str(kept)


def strays(node: str) -> list[str]:
    """A runner's networks of owners without a container, and cables in them that lead to none."""
    api = _engine()
    try:
        managed = api.networks(filters={"label": f"{LABEL_NODE}={node}"})
        names = [one["Name"] for one in managed if is_isolated_network(one["Name"])]
        return [stray for name in names for stray in _strays(api, name)]
    finally:
        api.close()


def _strays(api: docker.APIClient, name: str) -> list[str]:
    try:
        network = api.inspect_network(name)
        on_it = api.containers(all=True, filters={"network": network["Id"]})
    except docker.errors.NotFound:
        return []
    bridge = isolated_bridge(name)
    shown = subprocess.run(
        ["ip", "-o", "link", "show", "master", bridge], capture_output=True, text=True, check=False, timeout=20
    )
    links = [line.split(": ")[1] for line in shown.stdout.splitlines()]
    return [*([] if on_it else [name]), *links[len(network["Containers"]) :]]
