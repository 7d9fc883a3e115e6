"""Names and labels of the Docker objects of a runner. Only this module builds and parses them.

Labels are hints: Docker copies them from a container to an image made by `docker commit`, and from there to every
container of that image. So a runner acts only on an object whose name and labels both match; `session_of` and
`is_named_for` are the only places that compare them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from netvps.domain.uid import UID_PATTERN, uid_seconds

LABEL_MANAGED: Final = "netvps.managed"
LABEL_SESSION: Final = "netvps.session_id"
LABEL_TASK: Final = "netvps.task_id"
LABEL_TYPE: Final = "netvps.type"
LABEL_NODE: Final = "netvps.node"
LABEL_EPOCH: Final = "netvps.epoch"
LABEL_GENERATION: Final = "netvps.generation"
LABEL_SNAPSHOT: Final = "netvps.snapshot_id"
LABEL_RUN: Final = "netvps.run"
"""On a snapshot's image: the run of the container that it captures (domain.session.container.Container.run)."""
LABEL_LAYOUT: Final = "netvps.layout"
"""On a container: digest of the parameters that cannot change after it was made (domain.session.blueprint)."""
LABEL_HOLD: Final = "netvps.hold"
"""On a container: its agent can hold it until its files are copied (domain.session.container.Container.holdable)."""
LABEL_RESTORE: Final = "netvps.restore_id"
"""On a container: the restore in place that it was made for (domain.snapshot.snapshot.Restore)."""

OPTION_ADDRESS: Final = "netvps.address"
"""On a container's connection to the overlay's network: its overlay address, if that is outside the network's subnet.
"""
SHARED_NETWORK: Final = "netvps-net"
"""The network that sessions of all owners shared in earlier versions. It is emptied and removed."""
NETWORK_SUBNET: Final = "172.30.0.0/16"
"""The range from which each owner's isolated network gets its subnet."""
ISOLATED_BRIDGES: Final = "nvi"
"""Prefix of the bridge interfaces of isolated networks. No other interface has it."""
_ISOLATED = re.compile(r"netvps-net-(?P<digest>[0-9a-f]{12})")

_SNAPSHOT = re.compile(rf"netvps-snapshot/vps-(?P<uid>{UID_PATTERN}):(?P<time>[0-9]+)")
_UNFINISHED = re.compile(rf"netvps-unfinished/vps-(?P<uid>{UID_PATTERN}):[\w.-]+")
_CONTAINER = re.compile(rf"netvps-vps-(?P<uid>{UID_PATTERN})(?:-flatten|-restore)?")
_VOLUME = re.compile(rf"netvps-vps-(?P<uid>{UID_PATTERN})-[0-9a-f]{{8}}")
_NAMES = {"container": (_CONTAINER,), "image": (_SNAPSHOT, _UNFINISHED), "volume": (_VOLUME,)}


def container_name(session_uid: str) -> str:
    """Name of a session's container."""
    return f"netvps-vps-{session_uid}"


def flatten_name(session_uid: str) -> str:
    """Name of the short-lived container that carries the image configuration of a flattened snapshot."""
    return f"{container_name(session_uid)}-flatten"


def restore_name(session_uid: str) -> str:
    """Name of a session's container while its files are restored. It is renamed afterwards."""
    return f"{container_name(session_uid)}-restore"


def volume_name(session_uid: str, path: str) -> str:
    """Name of the volume in place of one that the session's image declares at `path`."""
    return f"{container_name(session_uid)}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def snapshot_image(session_uid: str, unix_time: int) -> str:
    """The image reference of a snapshot; `unix_time` in seconds."""
    return f"netvps-snapshot/vps-{session_uid}:{unix_time}"


def snapshot_tarball(session_uid: str, snapshot_uid: str) -> str:
    """The file name of a snapshot in a shared directory: "NAME-UNIX_TIME.tar"."""
    return f"vps-{session_uid}-{snapshot_uid}-{uid_seconds(snapshot_uid)}.tar"


def unfinished_image(session_uid: str, part: str) -> str:
    """The image reference of a snapshot in progress; `part` distinguishes the images of one snapshot."""
    return f"netvps-unfinished/vps-{session_uid}:{part}"


def is_unfinished_image(reference: str) -> bool:
    """Whether a reference is of a snapshot in progress."""
    return _UNFINISHED.fullmatch(reference) is not None


def is_own_image(reference: str) -> bool:
    """Whether a reference is of an image that netvps makes for itself: a snapshot, or what builds an environment."""
    return reference.startswith(("netvps-snapshot/", "netvps-unfinished/", environment_maker("")))


def is_named_for(session_uid: str, kind: str, name: str) -> bool:
    """Whether a runner gives this name to a "container", "image" or "volume" of this session."""
    matches = (pattern.fullmatch(name) for pattern in _NAMES[kind])
    return any(match is not None and match["uid"] == session_uid for match in matches)


def session_of(kind: str, name: str, labels: Mapping[str, str] | None, node: str) -> str | None:
    """Uid of the session that a "container", "image" or "volume" belongs to on the runner `node`.

    None unless both its labels and its name match, which means that netvps did not make it.
    """
    uid = (labels or {}).get(LABEL_SESSION)
    if uid is None or (labels or {}).get(LABEL_NODE) != node or not is_named_for(uid, kind, name):
        return None
    return uid


def is_session_container(name: str, labels: Mapping[str, str] | None) -> bool:
    """Whether a container belongs to a session, of any runner on this machine."""
    uid = (labels or {}).get(LABEL_SESSION)
    return uid is not None and is_named_for(uid, "container", name)


def parse_snapshot_image(reference: str) -> tuple[str, int] | None:
    """Session uid and Unix time of a snapshot's reference; None if it is not a snapshot of netvps."""
    match = _SNAPSHOT.fullmatch(reference)
    return (match["uid"], int(match["time"])) if match else None


def snapshot_number(reference: str) -> int:
    """Sort key of a session's snapshots. Independent of clocks: each snapshot's number is higher than all before it."""
    named = parse_snapshot_image(reference)
    return named[1] if named else 0


def isolated_network(node: str, owner: str) -> str:
    """Name of the isolated network of one owner's sessions on the runner `node`."""
    return f"{SHARED_NETWORK}-{hashlib.sha256(f'{node}/{owner}'.encode()).hexdigest()[:12]}"


def isolated_bridge(network: str) -> str:
    """Name of the bridge interface of an isolated network; the kernel allows 15 characters."""
    return ISOLATED_BRIDGES + network.removeprefix(f"{SHARED_NETWORK}-")


def is_isolated_network(name: str) -> bool:
    """Whether a name is that of an owner's isolated network."""
    return _ISOLATED.fullmatch(name) is not None


def environment_maker(name: str) -> str:
    """Name of the container, and of the image repository, in which an environment is built."""
    return f"netvps-env-{name}"


def environment_image(name: str, tag: str = "latest") -> str:
    """The image reference of an environment."""
    return f"netvps/{name}:{tag}"


def task_container_name(task_id: str) -> str:
    """Name of a task's container."""
    return f"netvps-task-{task_id}"


def task_labels(task_id: str, node: str, epoch: int) -> dict[str, str]:
    """Labels of the container of one epoch of a task; `node` is the runner's uid."""
    return {
        LABEL_MANAGED: "true",
        LABEL_TASK: task_id,
        LABEL_TYPE: "task",
        LABEL_NODE: node,
        LABEL_EPOCH: str(epoch),
    }


def task_of(name: str, labels: Mapping[str, str] | None, node: str) -> str | None:
    """Id of the task that a container belongs to on the runner `node`; None if it is of none, as `session_of`."""
    task_id = (labels or {}).get(LABEL_TASK)
    if task_id is None or (labels or {}).get(LABEL_NODE) != node or name != task_container_name(task_id):
        return None
    return task_id


def session_labels(session_uid: str, node: str, epoch: int, generation: int) -> dict[str, str]:
    """Labels of all objects of one placement of a session; `node` is the runner's uid."""
    return {
        LABEL_MANAGED: "true",
        LABEL_SESSION: session_uid,
        LABEL_TYPE: "vps",
        LABEL_NODE: node,
        LABEL_EPOCH: str(epoch),
        LABEL_GENERATION: str(generation),
    }
