"""Where a session's container is on the machine's networks, and where it asks for names."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from netvps.domain.overlay.dns import ZONE
from netvps.domain.session import Assignment, Network

_ENGINES_RESOLVER: Final = "127.0.0.11"
"""Docker's own, in every container that is on a network other than Docker's first."""


class Net(StrEnum):
    """The networks that a container may be on."""

    NONE = "none"
    ISOLATED = "isolated"
    """Of one owner's sessions on one machine without the overlay."""
    SHARED = "shared"
    """Of all owners' sessions without the overlay, from before each owner had one: nobody stays on it."""
    OVERLAY = "overlay"
    OTHER = "other"
    """None of ours: somebody's hand put it there."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A container's place on a network."""

    net: Net
    address: str = ""
    """On the overlay: there it is ours to choose."""
    owner: str = ""
    """On an isolated network: whose it is."""


def attachment_of(want: Assignment) -> Attachment:
    """Where a session's container shall be, from its next start on."""
    if want.address:
        return Attachment(Net.OVERLAY, want.address)
    return Attachment(Net.NONE) if want.spec.network is Network.NONE else isolated(want)


def isolated(want: Assignment) -> Attachment:
    """The network of a session's owner on its machine."""
    return Attachment(Net.ISOLATED, owner=want.owner_id)


def attachment_at_once(want: Assignment, now: Attachment | None) -> Attachment | None:
    """Where a container that runs has to be put without waiting for its next start; None if it stays where it is.

    That is off the network that all owners shared, and back on its owner's if it lost that.
    """
    wanted = attachment_of(want)
    if now is not None and now.net is Net.SHARED:
        return isolated(want) if wanted.net is Net.OVERLAY else wanted
    if now is not None and now.net is Net.NONE and wanted.net is Net.ISOLATED:
        return wanted
    return None


def resolv_conf(want: Assignment, bridge: str) -> str:
    """What resolv.conf says in a container that has it from us; `bridge` is the overlay's bridge, if it is on that.

    Docker's resolver is passed by on the overlay. It tells each container the hostnames of all others on the network,
    whoever's they are, so that `ssh dev1` would lead to the dev1 of somebody else; it is away while Docker is; and
    where it forwards to cannot be changed any more.
    """
    if not want.address:
        return f"nameserver {_ENGINES_RESOLVER}\noptions ndots:0\n"
    return f"nameserver {bridge}\nsearch {'.'.join((want.owner_id, *ZONE))}\n"
