"""Runners: joining, liveness, removal, their assignments and their reports."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from netvps.domain.access.accounts import Credential
from netvps.domain.checks import shown
from netvps.domain.filter.kinds import RunnerFilter
from netvps.domain.runner.labels import relabelled, with_reported
from netvps.domain.runner.runner import Lease, Runner, RunnerState, RunnerView, Welcome
from netvps.domain.session.lifecycle import lose, observe, wait
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.errors import NotFound, Unavailable, WrongState
from netvps.services.access.tokens import BOOT, JOIN, mint
from netvps.services.idempotency import Idempotency
from netvps.services.images.holdings import ImageHoldings
from netvps.services.moves.evictions import is_erased
from netvps.services.page import Page, read_page
from netvps.services.runners.joining import TOKEN_LIFE
from netvps.services.runners.leases import lease_of
from netvps.services.sessions.gpus import gpus_in_use
from netvps.services.sessions.progress import Progress
from netvps.services.sessions.removal import remove_runner, remove_session, runner_named, was_removed
from netvps.services.sessions.scheduler import place_waiting
from netvps.services.snapshots.results import has_results, record_results

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from netvps.domain.access.accounts import Caller
    from netvps.domain.overlay.settings import OverlaySettings
    from netvps.domain.runner.runner import Capacity, Heartbeat, RunnerHello
    from netvps.domain.session.session import SessionReport
    from netvps.services.ports import CertificateAuthority, Clock, Reader, Store, Transaction

_SEEN_EVERY = timedelta(seconds=30)
_DISK_CHANGE = 0.1
_BOOT_LIFE = timedelta(hours=1)


class Runners:
    """The API for runners, and what people see of them."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        ca: CertificateAuthority,
        *,
        progress: Progress,
        overlay_settings: OverlaySettings,
        heartbeat_interval: float = 5.0,
        rows: Callable[[str], Runner | None] = lambda _uid: None,
        copies: int = 1,
        images: ImageHoldings | None = None,
    ) -> None:
        """The interval is in seconds. `copies` is the default number of copies of a snapshot.

        `images` says which runners have which images.

        `rows` returns a runner's cached row, or None. A heartbeat that does not differ from it is not looked up in the
        store.
        """
        self._store = store
        self._clock = clock
        self._ca = ca
        self._overlay_settings = overlay_settings
        self._heartbeat_interval = heartbeat_interval
        self._rows = rows
        self._copies = copies
        self._images = images or ImageHoldings()
        self._progress = progress
        self._heard: dict[str, datetime] = {}
        """Runners connected to this server, with the latest time at which it recorded them."""
        self._asked: dict[str, datetime] = {}
        """Runners that other servers were asked about, with the `last_seen` that they have while no server answers."""

    async def create_join_token(self, caller: Caller, request_id: str = "") -> tuple[str, datetime]:
        """A token "nvj_KID_SECRET_FINGERPRINT" that lets one machine join, and its expiry."""
        now = self._clock()
        async with self._store.write(caller.user, "join.token") as tx:
            once = Idempotency(tx, caller, request_id, now, "CreateJoinToken")
            await once.earlier_secret()
            await _drop_expired(tx, now, purpose=JOIN, used_by="")  # used tokens are deleted with their runner
            credential, token = mint(JOIN, "", now, TOKEN_LIFE, fingerprint=self._ca.fingerprint)
            await once.record(await tx.put(credential), f"join token {credential.kid}")
        return token, now + TOKEN_LIFE

    async def online(self, runner_uid: str, hello: RunnerHello) -> Welcome:
        """Marks a runner online and places waiting sessions.

        Raises NotFound if it was removed, and WrongState if it wants no sessions and has some.
        """
        now = self._heard[runner_uid] = self._clock()
        self._progress.end(runner_uid)
        async with self._store.write(_actor(runner_uid), "runner.online") as tx:
            runner = await _require(tx, runner_uid)
            if hello.no_sessions and (sessions := await tx.find(Session, runner=runner_uid)):
                raise WrongState(
                    f"runner {runner.name} has {len(sessions)} sessions: start it without --no-sessions, or remove them"
                    f" first (netvps rm {sessions[0].full_name} …)",
                    reason="RUNNER_HAS_SESSIONS",
                )
            greeted = with_reported(runner, hello.labels)
            await tx.put(
                replace(
                    greeted,
                    state=RunnerState.ONLINE,
                    last_seen=now,
                    version=hello.version,
                    capacity=hello.capacity,
                    capabilities=hello.capabilities,
                    underlay=hello.underlay,
                    problems=hello.problems,
                    engine_problem=hello.engine_problem,
                    isolation_problem=hello.isolation_problem,
                    no_sessions=hello.no_sessions,
                )
            )
            await place_waiting(tx, now, self._images)
            lease = await _lease(tx, runner)
        return Welcome(runner.name, self._heartbeat_interval, lease, self._overlay_settings)

    async def heartbeat(self, runner_uid: str, heartbeat: Heartbeat) -> None:
        """Handles a heartbeat. Written to the store only if it is news, because each write is an entry in the log.

        Raises NotFound if the runner was removed, and Unavailable if it was marked offline, so that it reports
        everything again.
        """
        now = self._clock()
        known = self._rows(runner_uid)  # a thousand runners send 200 heartbeats a second
        if known is not None and known.state is RunnerState.ONLINE and not _news(known, heartbeat, now):
            return
        async with self._store.read() as reader:
            known = await _require(reader, runner_uid)
        if known.state is RunnerState.OFFLINE:
            raise Unavailable("this runner was marked offline, most likely by another server: connect again")
        if not _news(known, heartbeat, now):
            return
        self._heard[runner_uid] = now
        async with self._store.write(_actor(runner_uid)) as tx:
            runner = await _require(tx, runner_uid)
            updated = replace(
                runner,
                capacity=heartbeat.capacity,
                underlay=heartbeat.underlay,
                problems=heartbeat.problems,
                engine_problem=heartbeat.engine_problem,
                isolation_problem=heartbeat.isolation_problem,
            )
            await tx.put(replace(updated, last_seen=now))
            if heartbeat.engine_problem and not runner.engine_problem:
                await _explain_waiting(tx, updated, now)
            # Sessions may wait for the overlay, the engine, or GPUs.
            joined = heartbeat.underlay and not runner.underlay
            repaired = runner.engine_problem and not heartbeat.engine_problem
            if joined or repaired or _more(runner.capacity, heartbeat.capacity):
                await place_waiting(tx, now, self._images)

    async def offline(self, runner_uid: str) -> None:
        """Marks a runner offline and its sessions UNREACHABLE. Whether the sessions still run is unknown.

        Does nothing if the runner has connected to another server of this database since.
        """
        now = self._clock()
        async with self._store.write(_actor(runner_uid), "runner.offline") as tx:
            runner = await tx.get(Runner, runner_uid)
            if runner is None or runner.state is RunnerState.OFFLINE:
                return
            if runner.last_seen > self._heard.get(runner_uid, runner.last_seen):
                return
            await tx.put(replace(runner, state=RunnerState.OFFLINE))
            for session in await tx.find(Session, runner=runner_uid):
                lost = lose(session, now)
                if lost is not session:
                    await tx.put(lost)
        self._heard.pop(runner_uid, None)

    async def call_roll(self) -> None:
        """Asks the other servers of this database about online runners that are not connected to this one.

        Moves `last_seen` back, so that the server that has the runner finds at the next heartbeat that a write is due.
        """
        async with self._store.write("liveness") as tx:
            for runner in await tx.find(Runner, state=RunnerState.ONLINE):
                if runner.uid not in self._heard:
                    asked = await tx.put(replace(runner, last_seen=runner.last_seen - _SEEN_EVERY))
                    self._asked[runner.uid] = asked.last_seen

    async def stale(self) -> None:
        """Marks runners offline that no server hears of. Call it a grace period after `call_roll`."""
        async with self._store.read() as reader:
            online = await reader.find(Runner, state=RunnerState.ONLINE)
        for runner in online:
            if runner.uid not in self._heard and self._asked.get(runner.uid) == runner.last_seen:
                await self.offline(runner.uid)
        self._asked.clear()

    async def report(self, runner_uid: str, report: SessionReport) -> None:
        """Records a runner's report about one of its sessions; a stale, foreign or unchanged report changes nothing.

        Its progress is published, but not recorded.
        """
        if not self._progress.is_recorded(runner_uid, report):
            await self._record(runner_uid, report)
        self._progress.store(runner_uid, report)

    async def _record(self, runner_uid: str, report: SessionReport) -> None:
        now = self._clock()
        async with self._store.read() as reader:  # most reports after a reconnect are unchanged and need no write lock
            before = await reader.get(Session, report.session_uid)
            evicted = await is_erased(reader, runner_uid, report)
        if evicted is not None:
            async with self._store.write(_actor(runner_uid), "runner.removed") as tx:
                await tx.delete(evicted)
                await place_waiting(tx, now, self._images)
            return
        if before is None or before.runner != runner_uid:
            return
        if observe(before, report, now) is before and not has_results(before, report):
            return
        async with self._store.write(_actor(runner_uid), _transaction(report)) as tx:
            session = await tx.get(Session, report.session_uid)
            if session is None or session.runner != runner_uid:
                return
            seen = observe(session, report, now)
            if seen.desired is DesiredState.DELETED and seen.state is SessionState.DELETED:
                await remove_session(tx, seen)
                if seen.overlay_address or seen.gpus:  # a session may wait for them
                    await place_waiting(tx, now, self._images)
                return
            seen = await record_results(tx, session, seen, report, now, copies=self._copies)
            if seen is not session:
                await tx.put(seen)
            if session.gpus and not seen.gpus:  # a session may wait for them
                await place_waiting(tx, now, self._images)

    async def boot_token(self, runner_uid: str, session_uid: str, epoch: int) -> str:
        """A token for a session's agent. Raises NotFound unless that runner has the session in that epoch."""
        now = self._clock()
        async with self._store.write(_actor(runner_uid), "runner.boot_token") as tx:
            session = await tx.get(Session, session_uid)
            if session is None or (session.runner, session.epoch) != (runner_uid, epoch):
                raise NotFound(f"no session {shown(session_uid)[1:-1]} in epoch {epoch} on this runner: remove it")
            subject = f"{session_uid}/{epoch}"
            await _drop_expired(tx, now, subject=subject)
            credential, token = mint(BOOT, subject, now, _BOOT_LIFE)
            await tx.put(credential)
        return token

    async def get(self, caller: Caller, name: str) -> RunnerView:
        """A runner by name. Raises NotFound."""
        async with self._store.read() as reader:
            (view,) = await _views(reader, [await runner_named(reader, name)])
            return view

    async def remove(self, caller: Caller, name: str, *, force: bool = False, request_id: str = "") -> None:
        """Removes a runner and frees its subnet; with `force` also removes the sessions placed on it.

        Raises NotFound, and WrongState while it has sessions, unless forced.
        """
        async with self._store.write(caller.user) as tx:
            now = self._clock()
            once = Idempotency(tx, caller, request_id, now, "DeleteRunner", name, force)
            if await once.earlier() is None:
                await once.record(await remove_runner(tx, name, now, force=force), name)

    async def label(
        self, caller: Caller, name: str, labels: Mapping[str, str], remove: Collection[str], *, request_id: str = ""
    ) -> RunnerView:
        """Sets and removes labels of a runner. Raises as `relabelled`, and NotFound."""
        now = self._clock()
        async with self._store.write(caller.user) as tx:
            once = Idempotency(tx, caller, request_id, now, "LabelRunner", name, dict(labels), sorted(remove))
            if await once.earlier() is None:
                runner = await tx.put(relabelled(await runner_named(tx, name), labels, remove))
                await place_waiting(tx, now, self._images)
                await once.record(runner, name)
        return await self.get(caller, name)

    async def list(
        self, caller: Caller, *, page_size: int = 0, page_token: str = "", matching: str = "", order_by: str = ""
    ) -> Page[RunnerView]:
        """Runners that match; without order by name. Raises InvalidInput."""
        wanted = RunnerFilter.parse(matching, order_by)
        async with self._store.read() as reader:
            page = await read_page(reader, Runner, page_size, page_token, wanted)
            return Page(await _views(reader, page.items), page.next_page_token, page.revision)


def _actor(runner_uid: str) -> str:
    return f"runner:{runner_uid}"


def _transaction(report: SessionReport) -> str:
    """Name of the transaction for a report."""
    if report.state is SessionState.DELETED:
        return "runner.removed"
    return "runner.snapshot" if report.snapshot else "runner.report"


async def _require(reader: Reader, uid: str) -> Runner:
    runner = await reader.get(Runner, uid)
    if runner is None:
        raise was_removed()
    return runner


async def _lease(reader: Reader, runner: Runner) -> Lease:
    return _leased(runner, await lease_of(reader, runner.uid))


def _leased(runner: Runner, lease: Lease | None) -> Lease:
    if lease is None:
        raise NotFound(f"runner {runner.name} has no subnet: join again, with a token from netvps runner join-token")
    return lease


async def _views(reader: Reader, runners: Sequence[Runner]) -> list[RunnerView]:
    """Views of runners, with three reads for any number. Raises NotFound if one has no subnet."""
    uids = tuple(runner.uid for runner in runners)
    leases = {lease.runner: lease for lease in await reader.find(Lease, runner=uids)}
    counts = await reader.tally(Session, "runner", runner=uids)
    gpus = await gpus_in_use(reader, runners)
    return [
        RunnerView(
            runner,
            _leased(runner, leases.get(runner.uid)),
            counts.get(runner.uid, (0,))[0],
            gpus.get(runner.uid, frozenset()),
        )
        for runner in runners
    ]


def _more(old: Capacity, new: Capacity) -> bool:
    """Whether a machine offers what it did not before."""
    return bool({gpu.id for gpu in new.gpus} - {gpu.id for gpu in old.gpus}) or (new.disk_limits > old.disk_limits)


async def _drop_expired(tx: Transaction, now: datetime, **where: str) -> None:
    for credential in await tx.find(Credential, **where):
        if credential.expired(now):
            await tx.delete(credential)


def _reported(by: Runner | Heartbeat) -> tuple[object, ...]:
    return by.underlay, by.problems, by.engine_problem, by.isolation_problem


async def _explain_waiting(tx: Transaction, runner: Runner, now: datetime) -> None:
    """Sets a message on the sessions just placed on a runner that says why they do not start."""
    for session in await tx.find(Session, runner=runner.uid, state=SessionState.PENDING):
        message = f"its runner {runner.name} cannot start it now: {runner.engine_problem}; it starts when it can"
        explained = wait(session, session.reason, message, now)
        if explained is not session:
            await tx.put(explained)


def _news(runner: Runner, heartbeat: Heartbeat, now: datetime) -> bool:
    """Whether a heartbeat has to be stored: `last_seen` is old, a field changed, or a tenth of the free disk did."""
    old, capacity = runner.capacity, heartbeat.capacity
    same = replace(old, disk_free_bytes=0) == replace(capacity, disk_free_bytes=0)
    same = same and _reported(runner) == _reported(heartbeat)
    disk = abs(old.disk_free_bytes - capacity.disk_free_bytes) > _DISK_CHANGE * old.disk_free_bytes
    return now - runner.last_seen >= _SEEN_EVERY or not same or disk
