"""Stores the last complete netmap and what else the overlay depends on, for a start without a control plane."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import structlog

from netvps.domain.overlay.netmap import Endpoint, Netmap, NetmapUpdate, Peer
from netvps.domain.overlay.peer_health import Health
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.runner.runner import Lease, Underlay
from netvps.files import write_file

_VERSION = 1
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Known:
    """The stored state of the overlay."""

    overlay_settings: OverlaySettings
    lease: Lease
    """The subnet in use here, which may differ from the one offered last."""
    netmap: Netmap
    health: Health = field(default_factory=Health)
    """Findings about links, which are not measured again."""


class NetmapStore(Protocol):
    """Stores the overlay's state, or does not."""

    def load(self) -> Known | None:
        """Returns the stored state."""

    def writer(self, known: Known) -> Callable[[], None]:
        """Returns a function that stores `known`; call it in a thread."""


class FileNetmapStore:
    """Stores the state in one file; ignores a file of another runner."""

    def __init__(self, path: Path, runner: str) -> None:
        """`runner` is its uid."""
        self._path = path
        self._runner = runner

    def load(self) -> Known | None:
        """Returns the stored state; None if it cannot be read: the control plane sends it again."""
        try:
            kept = json.loads(self._path.read_bytes())
            if kept["version"] != _VERSION or kept["runner"] != self._runner:
                return None
            return _known(kept)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("cannot read the stored netmap; the control plane sends it again", error=str(error))
            return None

    def writer(self, known: Known) -> Callable[[], None]:
        """Returns the writer, to be called in a thread: thousands of peers take a while."""

        def write() -> None:
            content = {
                "version": _VERSION,
                "runner": self._runner,
                "fabric": asdict(known.overlay_settings),
                "lease": asdict(known.lease),
                "health": asdict(known.health),
                "generation": known.netmap.generation,
            }
            fields = [f'"{name}":{_json(value)}' for name, value in content.items()]
            fields.append(f'"peers":[{",".join(_json(asdict(peer)) for peer in known.netmap.peers.values())}]')
            ends = ",".join(_json(asdict(endpoint)) for endpoint in known.netmap.endpoints.values())
            fields.append(f'"endpoints":[{ends}]')
            write_file(self._path, f"{{{','.join(fields)}}}".encode())

        return write

    def forget(self) -> None:
        """Removes the file."""
        self._path.unlink(missing_ok=True)


def _json(value: object) -> str:
    """Encodes one entry: json holds the GIL, and so blocks the event loop, for the duration of a call."""
    return json.dumps(value, separators=(",", ":"))


def _known(kept: dict[str, Any]) -> Known:
    update = NetmapUpdate(
        generation=int(kept["generation"]),
        peers=tuple(_peer(item) for item in kept["peers"]),
        endpoints=tuple(Endpoint(**item) for item in kept["endpoints"]),
    )
    health = Health(**kept.get("health", {}))
    return Known(OverlaySettings(**kept["fabric"]), Lease(**kept["lease"]), Netmap().updated(update), health)


def _peer(item: dict[str, Any]) -> Peer:
    underlay = Underlay(tuple(item["underlay"]["addresses"]), item["underlay"]["mtu"])
    return Peer(**item | {"lease": Lease(**item["lease"]), "underlay": underlay})
