"""Names and labels of what a runner makes in Docker; one module builds and parses all of them."""

from __future__ import annotations

import hashlib
import re
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

NETWORK: Final = "netvps-net"
NETWORK_SUBNET: Final = "172.30.0.0/16"

_SNAPSHOT = re.compile(rf"netvps-snapshot/vps-(?P<uid>{UID_PATTERN}):(?P<time>[0-9]+)")


def container_name(session_uid: str) -> str:
    """The container of a session."""
    return f"netvps-vps-{session_uid}"


def flatten_name(session_uid: str) -> str:
    """The short-lived container through which a flattened snapshot gets its image's configuration."""
    return f"{container_name(session_uid)}-flatten"


def volume_name(session_uid: str, path: str) -> str:
    """The volume in place of one that a session's image declares at `path`."""
    return f"{container_name(session_uid)}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def snapshot_image(session_uid: str, unix_time: int) -> str:
    """The image reference of a snapshot; `unix_time` in seconds."""
    return f"netvps-snapshot/vps-{session_uid}:{unix_time}"


def parse_snapshot_image(reference: str) -> tuple[str, int] | None:
    """Session uid and time in seconds of a snapshot's reference; None if it is not one of ours."""
    match = _SNAPSHOT.fullmatch(reference)
    return (match["uid"], int(match["time"])) if match else None


def snapshot_number(reference: str) -> int:
    """Orders the snapshots of a session, the latest highest, whatever clocks did: each is named after all before it."""
    named = parse_snapshot_image(reference)
    return named[1] if named else 0


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
