"""All services over one store: what most tests of services stand in."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from netvps.domain.access.accounts import Caller, Role, User
from netvps.domain.access.quota import Quota
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.runner.runner import CAPABILITIES, Capacity, RunnerHello, Underlay
from netvps.domain.server import Registration
from netvps.domain.session.session import Session, SessionReport, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.sleep.policy import SleepDefaults
from netvps.domain.uid import make_uid
from netvps.services.access.accounts import Access
from netvps.services.access.invitations import Invitations
from netvps.services.access.key_uses import KeyUseLog
from netvps.services.access.logins import Logins
from netvps.services.access.quotas import Quotas
from netvps.services.access.registration import Registrations
from netvps.services.access.ssh_keys import SshKeys
from netvps.services.copies.copies import Copies
from netvps.services.feed import Feed
from netvps.services.images.default_image import DefaultImages
from netvps.services.images.holdings import ImageHoldings
from netvps.services.images.images import Images
from netvps.services.moves.moves import Moves
from netvps.services.runners.certificates import Certificates
from netvps.services.runners.joining import Joining
from netvps.services.runners.runners import Runners
from netvps.services.scheduling.leases import Leases
from netvps.services.scheduling.reservations import Reservations
from netvps.services.sessions.progress import Progress
from netvps.services.sessions.sessions import Sessions
from netvps.services.sessions.watch import Watch
from netvps.services.sharing.shares import Shares
from netvps.services.sleep.rules import IdleRules
from netvps.services.sleep.self_service import SelfServices
from netvps.services.snapshots.clones import Clones
from netvps.services.snapshots.snapshots import Snapshots
from netvps.services.snapshots.take import Limits
from tests.fakes.ca import FakeCa

if TYPE_CHECKING:
    from netvps.domain.runner.runner import Runner
    from netvps.services.ports import KeyUses, R, Store
    from tests.fakes.clock import FakeClock

ALICE, BOB, ROOT = Caller("alice", Role.USER), Caller("bob", Role.USER), Caller("root", Role.ADMIN)
IMAGE = "debian:12"
QUOTA = 500
"""Sessions of each user."""
SETTINGS = OverlaySettings("cluster")
HELLO = RunnerHello("instance", "1.0", Capacity(cpus=8, memory_bytes=16 << 30, disk_free_bytes=100 << 30), CAPABILITIES)

UNDERLAY = Underlay(("192.0.2.1",), 1450)
ON_OVERLAY = replace(HELLO, underlay=UNDERLAY)


class World:
    """Alice, Bob and root, and everything that they use."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        numbers = itertools.count(1)

        def new_uid() -> str:
            return make_uid(int(clock.now.timestamp() * 1000), next(numbers))

        self.store, self.clock, self.ca, self.new_uid = store, clock, FakeCa(), new_uid
        self.feed = Feed(store)
        progress = Progress(store, self.feed)
        self.holdings = ImageHoldings()
        self.quotas = Quotas({Role.USER: Quota(sessions=QUOTA)})
        self.sessions = Sessions(store, clock, new_uid, IMAGE, progress.shown, images=self.holdings, quotas=self.quotas)
        self.copies = Copies(store, clock)
        self.moves = Moves(store, clock, new_uid, self.copies, images=self.holdings)
        self.default_images = DefaultImages(store, clock, self.feed, IMAGE)
        self.images = Images(store, self.default_images, self.holdings)
        self.snapshots = Snapshots(store, clock, new_uid, Limits(per_session=5, per_user=8), self.copies)
        self.clones = Clones(store, clock, new_uid, quotas=self.quotas)
        self.runners = Runners(
            store, clock, self.ca, progress=progress, overlay_settings=SETTINGS, images=self.holdings
        )
        self.joining = Joining(store, clock, new_uid, self.ca, SETTINGS, 22)
        self.certificates = Certificates(store, clock, self.ca)
        self.key_uses = KeyUseLog(cast("KeyUses", store))
        self.access = Access(store, clock, self.key_uses.note, self.quotas)
        self.ssh_keys = SshKeys(store, clock, new_uid)
        self.invitations = Invitations(store, clock, self.ca, Registration.INVITE_ONLY)
        self.registrations = self.registering(Registration.INVITE_ONLY)
        self.idle_rules = IdleRules(store, clock, SleepDefaults())
        self.self_services = SelfServices(store, clock, self.idle_rules, self.snapshots)
        self.logins = Logins(store, clock, self.ca, self.feed, self.quotas)
        self.shares = Shares(store, clock, self.feed)
        self.leases = Leases(store, clock)
        self.reservations = Reservations(store, clock, new_uid)
        self.watch = Watch(store, self.feed, clock)

    def registering(self, mode: Registration) -> Registrations:
        return Registrations(self.store, self.clock, self.new_uid, self.ca, mode, monotonic=self.clock.monotonic)

    async def populate(self) -> None:
        async with self.store.write("test") as tx:
            for caller in (ALICE, BOB, ROOT):
                await tx.put(User(caller.user, caller.role, self.clock()))

    async def runner(self, name: str = "lab1", *, online: bool = True, hello: RunnerHello = HELLO) -> Runner:
        token, _ = await self.runners.create_join_token(ROOT)
        joined = await self.joining.join(token, f"csr:{name}", name)
        if online:
            await self.runners.online(joined.runner.uid, hello)
        return joined.runner

    async def session(self, name: str = "dev1", caller: Caller = ALICE, spec: SessionSpec | None = None) -> Session:
        return await self.sessions.create(caller, session_id=name, owner="", spec=spec or SessionSpec())

    async def reported(self, session: Session, state: SessionState, reason: str = "", *, address: str = "") -> Session:
        """The session after its runner said that its present generation is in that state."""
        now = await self.row(Session, session.uid)
        assert now is not None
        report = SessionReport(now.uid, now.epoch, now.generation, state, reason, address=address)
        await self.runners.report(now.runner, report)
        return await self.row(Session, session.uid) or now

    async def row(self, kind: type[R], key: str) -> R | None:
        async with self.store.read() as reader:
            return await reader.get(kind, key)

    async def require(self, kind: type[R], key: str) -> R:
        row = await self.row(kind, key)
        assert row is not None
        return row

    async def rows(self, kind: type[R], **where: str) -> list[R]:
        async with self.store.read() as reader:
            return await reader.find(kind, **where)

    async def revision(self) -> int:
        async with self.store.read() as reader:
            return reader.revision
