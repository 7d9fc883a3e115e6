"""Names and labels of what a runner makes in Docker; one module builds and parses all of them.

Labels are hints: Docker copies them from a container to an image that somebody commits, and from there to each
container of that image. The name is the proof. So a runner acts only on what carries both, and `session_of` and
`is_named_for` are the one place that compares them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Final

from netvps.domain.uid import UID_PATTERN

LABEL_MANAGED: Final = "netvps.managed"
LABEL_SESSION: Final = "netvps.session_id"
LABEL_TYPE: Final = "netvps.type"
LABEL_NODE: Final = "netvps.node"
LABEL_EPOCH: Final = "netvps.epoch"
LABEL_GENERATION: Final = "netvps.generation"
LABEL_SNAPSHOT: Final = "netvps.snapshot_id"
LABEL_RUN: Final = "netvps.run"
"""On a snapshot's image: which run of which container it holds (domain.container.Container.run)."""
LABEL_LAYOUT: Final = "netvps.layout"
"""On a container: a digest of what cannot be changed once it is made (domain.blueprint)."""

SHARED_NETWORK: Final = "netvps-net"
"""Of sessions of all owners without the overlay, as earlier versions made it: it is left, and removed."""
NETWORK_SUBNET: Final = "172.30.0.0/16"
"""Out of which each owner's network without the overlay has a subnet."""
ISOLATED_BRIDGES: Final = "nvi"
"""What names of the bridges of those networks begin with, and of no other interface."""
_ISOLATED = re.compile(r"netvps-net-(?P<digest>[0-9a-f]{12})")

_SNAPSHOT = re.compile(rf"netvps-snapshot/vps-(?P<uid>{UID_PATTERN}):(?P<time>[0-9]+)")
_UNFINISHED = re.compile(rf"netvps-unfinished/vps-(?P<uid>{UID_PATTERN}):[\w.-]+")
_CONTAINER = re.compile(rf"netvps-vps-(?P<uid>{UID_PATTERN})(?:-flatten|-restore)?")
_VOLUME = re.compile(rf"netvps-vps-(?P<uid>{UID_PATTERN})-[0-9a-f]{{8}}")
_NAMES = {"container": (_CONTAINER,), "image": (_SNAPSHOT, _UNFINISHED), "volume": (_VOLUME,)}


def container_name(session_uid: str) -> str:
    """The container of a session."""
    return f"netvps-vps-{session_uid}"


def flatten_name(session_uid: str) -> str:
    """The short-lived container through which a flattened snapshot gets its image's configuration."""
    return f"{container_name(session_uid)}-flatten"


def restore_name(session_uid: str) -> str:
    """A session's container while its files are put into it; then it gets its own name."""
    return f"{container_name(session_uid)}-restore"


def volume_name(session_uid: str, path: str) -> str:
    """The volume in place of one that a session's image declares at `path`."""
    return f"{container_name(session_uid)}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def snapshot_image(session_uid: str, unix_time: int) -> str:
    """The image reference of a snapshot; `unix_time` in seconds."""
    return f"netvps-snapshot/vps-{session_uid}:{unix_time}"


def unfinished_image(session_uid: str, part: str) -> str:
    """The image reference of a snapshot that is being made; `part` tells apart what one snapshot needs."""
    return f"netvps-unfinished/vps-{session_uid}:{part}"


def is_unfinished_image(reference: str) -> bool:
    """Whether a reference is of a snapshot that was being made."""
    return _UNFINISHED.fullmatch(reference) is not None


def is_named_for(session_uid: str, kind: str, name: str) -> bool:
    """Whether a "container", "image" or "volume" has a name that a runner gives to such of this session."""
    matches = (pattern.fullmatch(name) for pattern in _NAMES[kind])
    return any(match is not None and match["uid"] == session_uid for match in matches)


def session_of(kind: str, name: str, labels: Mapping[str, str] | None, node: str) -> str | None:
    """Uid of the session that a "container", "image" or "volume" was made for by the runner `node`.

    None if its labels do not say so, or its name is not one that the runner gives: then somebody else made it.
    """
    uid = (labels or {}).get(LABEL_SESSION)
    if uid is None or (labels or {}).get(LABEL_NODE) != node or not is_named_for(uid, kind, name):
        return None
    return uid


def is_session_container(name: str, labels: Mapping[str, str] | None) -> bool:
    """Whether a container is a session's, of whichever runner of this machine."""
    uid = (labels or {}).get(LABEL_SESSION)
    return uid is not None and is_named_for(uid, "container", name)


def parse_snapshot_image(reference: str) -> tuple[str, int] | None:
    """Session uid and time in seconds of a snapshot's reference; None if it is not one of ours."""
    match = _SNAPSHOT.fullmatch(reference)
    return (match["uid"], int(match["time"])) if match else None


def snapshot_number(reference: str) -> int:
    """Orders the snapshots of a session, the latest highest, whatever clocks did: each is named after all before it."""
    named = parse_snapshot_image(reference)
    return named[1] if named else 0


def isolated_network(node: str, owner: str) -> str:
    """The network of one owner's sessions without the overlay, on the runner `node`."""
    return f"{SHARED_NETWORK}-{hashlib.sha256(f'{node}/{owner}'.encode()).hexdigest()[:12]}"


def isolated_bridge(network: str) -> str:
    """The interface of an isolated network on its machine; the kernel takes 15 characters."""
    return ISOLATED_BRIDGES + network.removeprefix(f"{SHARED_NETWORK}-")


def is_isolated_network(name: str) -> bool:
    """Whether a network has a name that a runner gives to one of an owner's."""
    return _ISOLATED.fullmatch(name) is not None


def environment_maker(name: str) -> str:
    """The container, and the repository of the image, in which an environment is made."""
    return f"netvps-env-{name}"


def environment_image(name: str, tag: str = "latest") -> str:
    """The image reference of an environment."""
    return f"netvps/{name}:{tag}"


def session_labels(session_uid: str, node: str, epoch: int, generation: int) -> dict[str, str]:
    """Labels of all that belongs to one placement of a session; `node` is the runner's uid."""
    return {
        LABEL_MANAGED: "true",
        LABEL_SESSION: session_uid,
        LABEL_TYPE: "vps",
        LABEL_NODE: node,
        LABEL_EPOCH: str(epoch),
        LABEL_GENERATION: str(generation),
    }
