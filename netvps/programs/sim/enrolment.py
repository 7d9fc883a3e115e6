"""Runners that have joined before a server starts: rows in its database, and certificates of its CA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from netvps.adapters.ca.client_key import new_key, signing_request
from netvps.domain.access.identity import RunnerIdentity
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.runner.runner import Runner
from netvps.process import clock
from netvps.services.runners.leases import lease

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.adapters.store import SqlStore
    from netvps.domain.runner.runner import Underlay
    from netvps.services.ports import CertificateAuthority

_PREFIX = 22


@dataclass(frozen=True, slots=True)
class Machine:
    """A runner's identity."""

    uid: str
    name: str
    number: int
    certificate: str
    """PEM."""


async def enrol(
    store: SqlStore, ca: CertificateAuthority, count: int, underlay: Callable[[int], Underlay | None] = lambda _: None
) -> tuple[str, list[Machine]]:
    """Makes runners lab0, lab1, …; returns their key (PEM) and their identities.

    They share one key, as making a thousand takes long, and have a certificate each. `underlay` is by number.
    """
    key, now, cluster_id = new_key(), clock.now(), await store.cluster_id()
    request, machines = signing_request(key), list[Machine]()
    async with store.write("simulation") as tx:
        for number in range(count):
            made = Runner(clock.new_uid(), f"lab{number}", now, now, underlay=underlay(number))
            runner = await tx.put(made)
            await lease(tx, runner.uid, OverlaySettings(cluster_id), _PREFIX)
            certificate, _ = ca.sign_client(request, RunnerIdentity(runner.uid).uri, now)
            machines.append(Machine(runner.uid, runner.name, number, certificate))
    return key, machines
