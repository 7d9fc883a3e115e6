"""The runner: reconciles this machine with the control plane's desired state.

    Link ──► assignments ──► one SessionReconciler per session ──► ReportOutbox ──► Link
                  │                         ▲
           AssignmentStore         events of the engine

A lost connection stops nothing: workers continue with the last known assignments, which are on disk. On every
connection the control plane sends all assignments again: no state to synchronise, and sessions that it does not name
are orphaned.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from contextlib import aclosing, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from netvps.domain.image.copies import ImageRequest
from netvps.domain.image.work import ImageWork
from netvps.domain.metrics import MetricsRequest
from netvps.domain.overlay.netmap import NetmapUpdate
from netvps.domain.overlay.peer_health import Link as Route
from netvps.domain.overlay.peer_health import ProbeReport, ProbeRequest
from netvps.domain.runner.runner import (
    CAPABILITIES,
    COPIES,
    IMAGE_COPIES,
    IMAGES,
    TASKS,
    CaughtUp,
    Heartbeat,
    LogRequest,
    RunnerHello,
    Welcome,
)
from netvps.domain.session.session import Assignment
from netvps.domain.snapshot.copies import CopyOrder, CopyRequest
from netvps.domain.snapshot.exchange import FilesRequest
from netvps.domain.task.task import TaskOrder
from netvps.errors import ConfigError, NetvpsError
from netvps.faults import ENABLED, fault_point
from netvps.files import remove_parts
from netvps.runner.agent import keep_agent, keep_agents_few
from netvps.runner.assignment_store import AssignmentStore
from netvps.runner.copies import CopyOrders, DamageReports
from netvps.runner.disabled import NoEngine
from netvps.runner.image.copies import ImageCopies
from netvps.runner.image.requests import ImageRequests
from netvps.runner.machine_watch import MachineWatch
from netvps.runner.metrics import MetricsSampler
from netvps.runner.orphans import Orphans, warn_of_unknown
from netvps.runner.overlay.overlay import Overlay
from netvps.runner.ports import Engine, Environments, HostFilter, Link, Machine, Meter, ToRunner, Travel
from netvps.runner.report_outbox import ReportOutbox
from netvps.runner.session.actions import SessionActions
from netvps.runner.session.agent.runtime import RuntimeFolder
from netvps.runner.session.agent.upstream import Upstream
from netvps.runner.session.ends.restart_backoff import boot_time
from netvps.runner.session.ends.starts import Starts
from netvps.runner.session.features import Features
from netvps.runner.session.last_runs import LastRuns
from netvps.runner.session.logs import KeptLogs, LogStreams
from netvps.runner.session.reconciler import SessionReconciler
from netvps.runner.session.reporter import Reporter
from netvps.runner.session_files import SessionFiles
from netvps.runner.settings import RunnerSettings
from netvps.runner.task.orders import TaskOrders
from netvps.runner.task.ports import TaskEngine
from netvps.runner.task.records import TaskRecords
from netvps.runner.task.run import TaskHost
from netvps.runner.trash import Trash
from netvps.tasks import Tasks

_RECONNECT_MIN, _RECONNECT_MAX = 0.2, 1.0 if ENABLED else 10.0  # tests restart their servers often
_HEARTBEAT_SECONDS = 5.0
_MAX_PROBES = 2
log = structlog.get_logger()


class Runner:
    """`run` it; cancelling leaves all containers running."""

    def __init__(
        self,
        link: Link,
        engine: Engine | None,
        settings: RunnerSettings,
        overlay: Overlay | None = None,
        host_filter: HostFilter | None = None,
        *,
        meter: Meter | None = None,
        travel: Travel[Any] | None = None,
        features: Features | None = None,
        environments: Environments | None = None,
        image_copies: ImageCopies[Any] | None = None,
        tasks: TaskEngine | None = None,
    ) -> None:
        """`engine` None: no sessions run here. `overlay` None: not available. `host_filter` None: not configured.

        `meter` None: nothing is measured. `travel` None: no snapshots are copied from or to this machine. `features`
        None: none besides the engine. `environments` None: nothing is done with images on request.
        `image_copies` None: no images are copied from here. `tasks` None: no tasks run here.

        Raises ConfigError if the runner has sessions, but no engine.
        """
        self._link = link
        self._overlay = overlay
        self._engine = engine
        self._containers: Machine = engine or NoEngine()
        self._settings = settings
        self._board = ReportOutbox()
        if overlay:
            overlay.on_underlay_change = self._underlay_changed
            overlay.on_problems_change = self._board.hurry
        self._store = AssignmentStore(settings.state_dir / "assignments.json")
        if engine is None and (count := len(self._store.assignments)):
            raise ConfigError(
                f"this runner has {count} sessions: start it without --no-sessions, or remove them first"
                " (netvps rm NAME …)"
            )
        self._logs = KeptLogs(settings.state_dir / "logs")
        self._files = SessionFiles(link, engine)
        self._images = ImageRequests(link, environments)
        self._last_runs = LastRuns(settings.state_dir / "last_runs")
        self._starts = Starts(settings.state_dir / "starts")
        remove_parts(settings.run_dir)
        self._trash = Trash(settings.run_dir)
        self._upstream = Upstream(settings.tunnel_address)
        self._agent = keep_agent(settings.agent, settings.state_dir)
        self._orphans = Orphans(self._containers, self._erase_orphan, settings.orphan_grace)
        self._workers: dict[str, SessionReconciler] = {}
        self._jobs: dict[str, asyncio.Task[None]] = {}
        self._tasks = Tasks()
        self._log_streams = LogStreams(link, self._logs, self._containers.logs, tasks)
        self._probes = 0
        self._instance_id = secrets.token_hex(8)
        self._sampler = MetricsSampler(meter, self._board.post_metrics) if meter else None
        self._features = features or Features()
        self._machine = MachineWatch(self._containers, host_filter, self._board.hurry, self._features)
        self._heartbeat = _HEARTBEAT_SECONDS
        self._copies = CopyOrders(travel, link, self._board.post_copy, self._board.forget_copy) if travel else None
        self._image_copies = image_copies
        folder, extras = settings.state_dir / "tasks", lambda: self._features.extras
        self._task_orders: TaskOrders | None = None
        if tasks:
            host = TaskHost(tasks, TaskRecords(folder), self._board.post_task, settings.uid, extras, booted=boot_time())
            self._task_orders = TaskOrders(host, self._board.forget_task)
        given = {COPIES: travel, IMAGES: environments, IMAGE_COPIES: image_copies, TASKS: tasks}
        missing = settings.lacks | {name for name, part in given.items() if part is None}
        self._capabilities = tuple(one for one in CAPABILITIES if one not in missing)
        self._failures = 0
        """Connection attempts without a Welcome since the last Welcome."""

    @property
    def unsent_reports(self) -> int:
        """Number of sessions with reports that were not sent to the control plane."""
        return self._board.unsent

    @property
    def log_streams(self) -> int:
        """Number of log streams of this machine's sessions."""
        return self._log_streams.count

    async def run(self) -> None:
        """Runs until cancelled."""
        copies, tasks = self._copies or nullcontext(), self._task_orders or nullcontext()
        async with self._tasks, copies, tasks, asyncio.TaskGroup() as group:
            for assignment in self._store.assignments.values():
                self._employ(assignment)
            await self._machine.check()
            if self._overlay:
                await self._overlay.prepare()
                group.create_task(self._overlay.run(), name="overlay")
            group.create_task(self._store.run(), name="assignments")
            group.create_task(self._containers.watch(self._changed), name="engine events")
            group.create_task(self._trash.run(), name="trash")
            group.create_task(self._machine.run(), name="machine")
            if self._sampler:
                group.create_task(self._sampler.run(), name="metrics")
            group.create_task(keep_agents_few(self._agent, self._containers.mounted), name="agents")
            group.create_task(self._stay_connected(), name="link")

    async def _stay_connected(self) -> None:
        while True:
            try:
                await self._connection()
                log.info("the control plane ended the connection; connecting again")
            except NetvpsError as error:
                self._failures += 1
                log.warning(
                    "no connection to the control plane; sessions continue",
                    error=error.message,
                    failures=self._failures,
                )
            pause = min(_RECONNECT_MAX, _RECONNECT_MIN * 2.0 ** min(self._failures, 10))
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 — no secret

    async def _connection(self) -> None:
        """Serves one connection, from Hello to its end."""
        overlay = self._overlay
        hello = RunnerHello(
            self._instance_id,
            self._settings.version,
            self._machine.capacity,
            self._capabilities,
            underlay=overlay.underlay if overlay else None,
            netmap_generation=overlay.generation if overlay else 0,
            problems=overlay.problems if overlay else (),
            engine_problem=self._machine.engine_problem,
            isolation_problem=self._machine.isolation_problem,
            no_sessions=self._engine is None,
            labels=self._settings.labels,
        )
        outgoing = self._board.outgoing(self._beat, lambda: self._heartbeat)
        named: set[str] = set()
        copied: set[str] = set()
        sweep: asyncio.Task[None] | None = None
        try:
            async with aclosing(self._link.connect(hello, outgoing)) as messages:
                async for message in messages:
                    match message:
                        case Welcome():
                            self._heartbeat = message.heartbeat_interval
                            self._failures = 0
                            if overlay:
                                overlay.welcome(message)
                            log.info("connected", runner=message.runner)
                        case Assignment():
                            named.add(message.session_uid)
                            self._assign(message)
                        case CopyOrder() if self._copies:
                            copied.add(message.snapshot)
                            self._copies.order(message)
                        case CaughtUp() if sweep is None:
                            self._forget_all_but(named, copied)
                            sweep = self._tasks.start(self._orphans.sweep(self._known), name="orphans")
                        case _:
                            self._handle(message)
        finally:
            if self._sampler:
                self._sampler.request(MetricsRequest())  # of this connection; the next one requests again
            if sweep:
                sweep.cancel()

    def _forget_all_but(self, named: set[str], copied: set[str]) -> None:
        """Handles that the control plane has named all that is assigned here."""
        warn_of_unknown(self._workers.keys() - named)
        if self._copies:
            self._copies.keep_only(copied)
        if self._task_orders:
            self._task_orders.keep_named()

    def _handle(self, message: ToRunner) -> None:
        """Handles a message that has nothing to do with assignments."""
        match message:
            case NetmapUpdate() if self._overlay:
                self._overlay.update(message)
            case LogRequest():
                self._tasks.start(self._log_streams.send(message), name=f"logs {message.stream_id}")
            case ProbeRequest():
                self._tasks.start(self._probe(message), name=f"probe {message.probe_id}")
            case FilesRequest(work=work) if isinstance(work, ImageWork):
                self._tasks.start(self._images.serve(message.stream_id, work), name=f"image {message.stream_id}")
            case FilesRequest():
                self._tasks.start(self._files.serve(message), name=f"files {message.stream_id}")
            case MetricsRequest() if self._sampler:
                self._sampler.request(message)
            case TaskOrder() if self._task_orders:
                self._task_orders.order(message)
            case CopyRequest() if self._copies:
                self._tasks.start(self._copies.send(message), name=f"copy {message.stream_id}")
            case ImageRequest() if self._image_copies:
                self._tasks.start(self._image_copies.send(message), name=f"copy {message.stream_id}")

    def _underlay_changed(self, *, moved: bool) -> None:
        """Reports a new underlay at once: until then, peers send to the old address, and so may the connection."""
        if moved:
            self._tasks.start(self._link.reopen(), name="reconnect")
        else:
            self._board.hurry()

    def _beat(self) -> Heartbeat:
        overlay = self._overlay
        machine = self._machine
        beat = Heartbeat(
            machine.capacity, engine_problem=machine.engine_problem, isolation_problem=machine.isolation_problem
        )
        if overlay is None:
            return beat
        return replace(
            beat,
            underlay=overlay.underlay,
            netmap_generation=overlay.generation,
            netmap_digest=overlay.digest,
            problems=overlay.problems,
        )

    async def _probe(self, request: ProbeRequest) -> None:
        """Answers every request so that the caller does not wait; without links if too many run at once."""
        links: tuple[Route, ...] = ()
        if self._overlay and self._probes < _MAX_PROBES:
            self._probes += 1
            try:
                links = await self._overlay.probe(request.peers)
            finally:
                self._probes -= 1
        self._board.answer(ProbeReport(request.probe_id, links))

    def _assign(self, assignment: Assignment) -> None:
        known = self._store.get(assignment.session_uid)
        if known and (assignment.epoch, assignment.generation) < (known.epoch, known.generation):
            log.warning(
                "older assignment refused", session=assignment.session_uid, epoch=assignment.epoch, known=known.epoch
            )
            return
        self._store.save(assignment, partial(self._act, assignment))

    def _act(self, assignment: Assignment) -> None:
        """Acts on an assignment that is on disk."""
        fault_point("assignment.kept")
        worker = self._workers.get(assignment.session_uid)
        if worker is None:
            self._employ(assignment, asked=True)
        else:
            worker.assign(assignment)

    def _employ(self, assignment: Assignment, *, asked: bool = False) -> None:
        if self._engine is None:
            log.error("this runner runs no sessions: the server must not assign one", session=assignment.session_uid)
            return
        reporter = Reporter(self._board.post)
        steps = SessionActions(
            self._engine,
            self._link,
            self._folder(assignment.session_uid),
            self._logs,
            reporter,
            last_runs=self._last_runs,
            starts=self._starts,
            features=self._features,
            node=self._settings.uid,
            agent=self._agent,
            lost=DamageReports(self._settings.uid, self._board.post_copy, self._copies),
        )
        worker = SessionReconciler(assignment, steps, reporter, look_every=self._settings.look_every, asked=asked)
        self._workers[assignment.session_uid] = worker
        job = self._employed(assignment.session_uid, worker)
        self._jobs[assignment.session_uid] = self._tasks.start(job, name=f"session {assignment.session_uid}")

    async def _employed(self, session_uid: str, worker: SessionReconciler) -> None:
        try:
            await worker.run()
            self._store.forget(session_uid)
        finally:
            if self._workers.get(session_uid) is worker:
                del self._workers[session_uid], self._jobs[session_uid]

    def _known(self) -> frozenset[str]:
        copied = self._copies.sessions if self._copies else frozenset[str]()
        return self._store.sessions.union(self._workers, copied)  # an assignment that is being stored has no worker yet

    def _changed(self, session_uid: str) -> None:
        if not session_uid:  # the engine's event stream ended or began
            self._machine.hurry()
        if self._overlay:
            self._overlay.reload_ports()
        if self._task_orders:
            self._task_orders.wake(session_uid)
        workers = [self._workers.get(session_uid)] if session_uid else list(self._workers.values())
        for worker in workers:
            if worker:
                worker.wake()

    def _folder(self, session_uid: str) -> RuntimeFolder:
        return RuntimeFolder(self._settings.run_dir / session_uid, session_uid, self._upstream, self._trash)

    async def _erase_orphan(self, session_uid: str) -> None:
        if self._engine:
            await self._engine.erase(session_uid)
        await self._folder(session_uid).remove()
        self._logs.remove(session_uid)
        self._last_runs.remove(session_uid)
        self._starts.remove(session_uid)
