"""The network attachment of a session's container, and its DNS resolver."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from netvps.domain.overlay.dns import ZONE
from netvps.domain.session.session import Assignment
from netvps.domain.session.spec import Network

_ENGINES_RESOLVER: Final = "127.0.0.11"
"""Docker's embedded DNS resolver, present in every container on a user-defined network."""


class Net(StrEnum):
    """The kind of network that a container is attached to."""

    NONE = "none"
    ISOLATED = "isolated"
    """One owner's sessions on one machine, without the overlay."""
    SHARED = "shared"
    """The network that sessions of all owners shared in earlier versions. Containers are moved off it."""
    OVERLAY = "overlay"
    OTHER = "other"
    """A network that netvps did not make; the container was attached by hand."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A container's place on a network."""

    net: Net
    address: str = ""
    """Set on the overlay only, where netvps assigns the address."""
    local_address: str = ""
    """The address that the engine gives the container, if `address` is of another runner's subnet; else ''."""
    owner: str = ""
    """Set on an isolated network only: the owner it belongs to."""


def attachment_of(assignment: Assignment) -> Attachment:
    """The attachment that a session's container gets at its next start."""
    if assignment.address:
        return Attachment(Net.OVERLAY, assignment.address, assignment.local_address)
    return Attachment(Net.NONE) if assignment.spec.network is Network.NONE else isolated(assignment)


def isolated(assignment: Assignment) -> Attachment:
    """The network of a session's owner on its machine."""
    return Attachment(Net.ISOLATED, owner=assignment.owner_id)


def attachment_at_once(assignment: Assignment, now: Attachment | None) -> Attachment | None:
    """The attachment that a running container needs now, before its next start; None if it stays where it is.

    It leaves the network that all owners shared, and is attached to its owner's network again if it lost that.
    """
    wanted = attachment_of(assignment)
    if now is not None and now.net is Net.SHARED:
        return isolated(assignment) if wanted.net is Net.OVERLAY else wanted
    if now is not None and now.net is Net.NONE and wanted.net is Net.ISOLATED:
        return wanted
    return None


def resolv_conf(assignment: Assignment, bridge: str) -> str:
    """The resolv.conf of a session's container.

    `bridge` is the address of the overlay's bridge, if the session is on it.

    On the overlay, Docker's resolver is bypassed, because it answers with the hostnames of all containers on the
    network regardless of owner (`ssh dev1` could reach another owner's dev1), does not work while Docker is down, and
    its upstream servers cannot be changed after the container was created.
    """
    if not assignment.address:
        return f"nameserver {_ENGINES_RESOLVER}\noptions ndots:0\n"
    return f"nameserver {bridge}\nsearch {'.'.join((assignment.owner_id, *ZONE))}\n"
