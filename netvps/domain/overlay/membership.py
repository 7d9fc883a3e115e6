"""Membership of the overlay, computed from changes of runners, leases and sessions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from netvps.domain.overlay.netmap import Endpoint, NetmapUpdate, Peer, Touched
from netvps.domain.overlay.settings import OverlaySettings, device_mac
from netvps.domain.runner.runner import Lease, Runner
from netvps.domain.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable

Resource = Runner | Lease | Session
V = TypeVar("V")


def peer_of(overlay_settings: OverlaySettings, runner: Runner | None, lease: Lease | None) -> Peer | None:
    """The runner as a netmap peer, online or not; None without a subnet or an underlay."""
    if runner is None or runner.underlay is None or lease is None:
        return None
    seen = Lease(lease.cidr, lease.runner, lease.epoch)  # without the fields that other runners do not use
    mac, gateway = device_mac(overlay_settings, runner.uid), runner.gateway_until is not None
    return Peer(runner.uid, runner.name, seen, mac, runner.underlay, gateway)


def endpoint_of(session: Session) -> Endpoint | None:
    """The session as a netmap endpoint; None without an address."""
    if not session.overlay_address:
        return None
    runner = session.runner if session.local_address else ""
    return Endpoint(session.uid, session.name, session.owner, session.overlay_address, runner)


@dataclass(slots=True)
class MembershipIndex:
    """Index of all members; call `take` with each change in order."""

    overlay_settings: OverlaySettings
    peers: dict[str, Peer] = field(default_factory=dict)
    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    _runners: dict[str, Runner] = field(default_factory=dict)
    _leases: dict[str, Lease] = field(default_factory=dict)

    def apply(self, resource: Resource, *, deleted: bool = False) -> Touched:
        """Applies a change and returns the members that it touched. Most changes of a session or runner touch none."""
        if isinstance(resource, Session):
            endpoint = None if deleted else endpoint_of(resource)
            return Touched(endpoints=_set(self.endpoints, resource.uid, endpoint))
        if isinstance(resource, Runner):
            uid = resource.uid
            _set(self._runners, uid, None if deleted else resource)
        else:
            uid = resource.runner
            _set(self._leases, uid, None if deleted else resource)
        peer = peer_of(self.overlay_settings, self._runners.get(uid), self._leases.get(uid))
        return Touched(peers=_set(self.peers, uid, peer))

    def runner(self, uid: str) -> Runner | None:
        """The runner with this uid, on the overlay or not."""
        return self._runners.get(uid)

    def update(self, touched: Touched, generation: int) -> NetmapUpdate:
        """The current entries of the touched members, valid for any reader that knew the map since the first touch.

        Members that came and went in between are included as gone, because a reader may have seen them.
        """
        return NetmapUpdate(
            generation,
            tuple(self.peers[uid] for uid in touched.peers if uid in self.peers),
            tuple(self.endpoints[uid] for uid in touched.endpoints if uid in self.endpoints),
            tuple(touched.peers - self.peers.keys()),
            tuple(touched.endpoints - self.endpoints.keys()),
        )


def mentioned(resources: Iterable[object]) -> Touched:
    """All members that the changes may have touched."""
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
    """Sets the value, or removes it if it is None. Returns the key if that changed anything."""
    if known.get(key) == value:
        return set()
    if value is None:
        del known[key]
    else:
        known[key] = value
    return {key}
