"""Who is on the overlay: what runners, their leases and sessions say of it, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from netvps.domain.overlay.fabric import Fabric, device_mac
from netvps.domain.overlay.netmap import Endpoint, NetmapUpdate, Peer, Touched
from netvps.domain.runner import Lease, Runner
from netvps.domain.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable

Resource = Runner | Lease | Session
V = TypeVar("V")


def peer_of(fabric: Fabric, runner: Runner | None, lease: Lease | None) -> Peer | None:
    """A runner as others see it, online or not; None while it has no subnet or no way to the others."""
    if runner is None or runner.underlay is None or lease is None:
        return None
    seen = Lease(lease.cidr, lease.runner, lease.epoch)  # what else is in the row is no news to anybody
    mac, gateway = device_mac(fabric, runner.uid), runner.gateway_until is not None
    return Peer(runner.uid, runner.name, seen, mac, runner.underlay, gateway)


def endpoint_of(session: Session) -> Endpoint | None:
    """A session as others see it; None while it has no address."""
    if not session.overlay_address:
        return None
    return Endpoint(session.uid, session.name, session.owner, session.overlay_address)


@dataclass(slots=True)
class Roster:
    """All members now; `take` each change, in order."""

    fabric: Fabric
    peers: dict[str, Peer] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    _runners: dict[str, Runner] = field(default_factory=dict)
    _leases: dict[str, Lease] = field(default_factory=dict)

    def take(self, resource: Resource, *, deleted: bool = False) -> Touched:
        """Whom it is news of: nobody, or one. For others most changes of a session or a runner are none."""
        if isinstance(resource, Session):
            endpoint = None if deleted else endpoint_of(resource)
            return Touched(endpoints=_set(self.endpoints, resource.uid, endpoint))
        if isinstance(resource, Runner):
            uid = resource.uid
            _set(self._runners, uid, None if deleted else resource)
        else:
            uid = resource.runner
            _set(self._leases, uid, None if deleted else resource)
        peer = peer_of(self.fabric, self._runners.get(uid), self._leases.get(uid))
        return Touched(peers=_set(self.peers, uid, peer))

    def runner(self, uid: str) -> Runner | None:
        """A runner's row, on the overlay or not."""
        return self._runners.get(uid)

    def update(self, touched: Touched, generation: int) -> NetmapUpdate:
        """What those are now who were touched; it is right for whoever knew the map at any time since the first was.

        So who came and went in between is told as gone, and not left out.
        """
        return NetmapUpdate(
            generation,
            tuple(self.peers[uid] for uid in touched.peers if uid in self.peers),
            tuple(self.endpoints[uid] for uid in touched.endpoints if uid in self.endpoints),
            tuple(touched.peers - self.peers.keys()),
            tuple(touched.endpoints - self.endpoints.keys()),
        )


def mentioned(resources: Iterable[object]) -> Touched:
    """Everybody whom changes may have been news of."""
    touched = Touched()
    for resource in resources:
        match resource:
            case Session():
                touched.endpoints.add(resource.uid)
            case Runner():
                touched.peers.add(resource.uid)
            case Lease():
                touched.peers.add(resource.runner)
    return touched


def _set(known: dict[str, V], key: str, value: V | None) -> set[str]:
    """Sets it, or removes it if it is None; returns the key if that changed anything."""
    if known.get(key) == value:
        return set()
    if value is None:
        del known[key]
    else:
        known[key] = value
    return {key}
