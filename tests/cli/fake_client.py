"""A server that is one object: it does what is asked, remembers what it was asked, and may misbehave."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Self, cast

from netvps.client import Client, WatchEvent
from netvps.domain.access.accounts import ApiKey, SshKey
from netvps.domain.access.audit import AuditQuery, AuditRecord
from netvps.domain.access.oidc import LoginState
from netvps.domain.access.sharing import NamedShare, Share, ShareRole
from netvps.domain.access.ssh_key import PublicKey
from netvps.domain.filter.kinds import SessionFilter
from netvps.domain.finding import Finding
from netvps.domain.image.image import DefaultImage, ImageProgress, ImageView
from netvps.domain.image.login import RegistryLogin
from netvps.domain.metrics import MetricSample
from netvps.domain.names import SessionName
from netvps.domain.overlay.path import Path
from netvps.domain.overlay.peer_health import Problem
from netvps.domain.overlay.settings import OverlaySettings, Overview
from netvps.domain.runner.labels import relabelled
from netvps.domain.runner.placement import SessionPlan, Verdict
from netvps.domain.runner.runner import Capacity, Lease, Runner, RunnerState, RunnerView, Underlay
from netvps.domain.server import ServerInfo
from netvps.domain.session.event import EventType, SessionEvent
from netvps.domain.session.exec import ExecStart, Exit, FromCommand, Stdin, Stdout, ToCommand
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.sleep.idle import SleepPlan
from netvps.domain.snapshot.snapshot import Snapshot
from netvps.errors import AlreadyExists, NotFound, Unavailable
from tests.cli.fake_people import MOMENT, FakePeople
from tests.cli.fake_scheduling import FakeScheduling
from tests.cli.fake_urls import FakeUrls

NOW = MOMENT
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHostKeyHostKeyHostKeyHostKeyHostKeyHostKey0 gateway"
INFO = ServerInfo("0.1.0", "c1", "", ":2222", HOST_KEY, "", ":7444", "netvps/debian:latest")


def session(name: str = "dev1", state: SessionState = SessionState.RUNNING, **changes: Any) -> Session:
    """A session of alice's at rest."""
    made = Session(
        uid=f"uid-{name}",
        name=name,
        owner="alice",
        spec=SessionSpec(image="debian:12"),
        desired=DesiredState.RUNNING,
        generation=1,
        observed_generation=1,
        create_time=NOW,
        update_time=NOW,
        state=state,
        runner_name="box1",
        revision=1,
    )
    return replace(made, **changes)


@dataclass
class FakeClient(FakePeople, FakeUrls, FakeScheduling):
    """Fulfils netvps.rpc.client.client.Client. `script` are the events that a watch brings after the list."""

    sessions: dict[str, Session] = field(default_factory=dict)
    newest: list[Snapshot] = field(default_factory=list)
    script: list[SessionEvent] = field(default_factory=list)
    errors: dict[str, BaseException] = field(default_factory=dict)
    """Method → what it raises."""
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    keys: list[SshKey] = field(default_factory=list)
    shares: list[NamedShare] = field(default_factory=list)
    api_keys: list[ApiKey] = field(default_factory=list)
    login_answers: list[LoginState | BaseException] = field(default_factory=list)
    records: list[AuditRecord] = field(default_factory=list)
    taken: frozenset[str] = frozenset()
    """Fingerprints that belong to another user."""
    output: Iterable[FromCommand] = (Stdout(b"out\n"), Exit(0))
    log: Iterable[bytes] = ()
    plan: SleepPlan = field(default_factory=lambda: SleepPlan(NOW))
    info: ServerInfo = INFO
    silent: bool = False
    """A watch never ends once the script is over."""
    heeds_input: bool = True
    """A command waits for the end of its input."""
    problems: tuple[Problem, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    """Of the runner's overlay."""
    overlay: bool = True
    engine_problem: str = ""
    no_sessions: bool = False
    capacity: dict[str, Any] = field(default_factory=dict)
    """What the runner's machine has, besides the usual."""
    gpus_in_use: frozenset[str] = frozenset()
    state: RunnerState = RunnerState.ONLINE
    """Of the runner."""
    images: list[ImageView] = field(default_factory=list)
    logins: list[RegistryLogin] = field(default_factory=list)
    silent_runners: tuple[str, ...] = ()
    """NAMEs of runners that cannot be asked for their images."""
    pulled: list[ImageProgress | ImageView | BaseException] = field(default_factory=list)
    samples: list[list[MetricSample]] = field(default_factory=list)
    paths: list[Path] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    fed: list[ToCommand] = field(default_factory=list)
    closed: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed.set()

    def _ask(self, method: str, *arguments: Any) -> None:
        self.asked.append((method, *arguments))
        if (error := self.errors.get(method)) is not None:
            raise error

    def server_info(self) -> ServerInfo:
        self._ask("server_info")
        return self.info

    def create_session(
        self, session_id: str, spec: SessionSpec, *, owner: str = "", validate_only: bool = False, **more: str
    ) -> Session:
        self._ask("create_session", session_id, spec, owner, validate_only, *filter(None, more.values()))
        pending = session(session_id or "brave-otter", SessionState.PENDING, spec=spec, observed_generation=0)
        return replace(pending, message="waiting for a runner")

    def plan_session(self, session_id: str, spec: SessionSpec, *, owner: str = "", **more: str) -> SessionPlan:
        planned = self.create_session(session_id, spec, owner=owner, validate_only=True, **more)
        return SessionPlan(planned, self.verdicts)

    def get_session(self, name: str) -> Session:
        self._ask("get_session", name)
        if name not in self.sessions:
            raise NotFound(f"there is no session {name}")
        return self.sessions[name]

    def sleep_plan(self, name: str) -> SleepPlan:
        self._ask("sleep_plan", name)
        return self.plan

    def list_sessions(self, parent: str = "", matching: str = "", order_by: str = "") -> Iterator[Session]:
        self._ask("list_sessions", parent, *filter(None, [matching, order_by]))
        wanted = SessionFilter.parse(matching, order_by)
        yield from wanted.sorted(filter(wanted.matches, self.sessions.values()))

    def list_snapshots(self, session: str = "", *, parent: str = "") -> Iterator[Snapshot]:
        self._ask("list_snapshots", session, parent)
        yield from self.newest

    def stop_session(self, name: str) -> Session:
        return self._want("stop_session", name, DesiredState.STOPPED)

    def start_session(self, name: str) -> Session:
        return self._want("start_session", name, DesiredState.RUNNING)

    def delete_session(self, name: str) -> Session:
        return self._want("delete_session", name, DesiredState.DELETED)

    def pause_session(self, name: str) -> Session:
        return self._want("pause_session", name, DesiredState.PAUSED)

    def resume_session(self, name: str) -> Session:
        return self._want("resume_session", name, DesiredState.RUNNING)

    def rename_session(self, name: str, session_id: str) -> Session:
        self._ask("rename_session", name, session_id)
        return replace(self.get_session(name), name=session_id)

    def update_session(
        self, name: str, spec: SessionSpec, fields: Iterable[str], *, expected_revision: int = 0
    ) -> Session:
        changed = {field: getattr(spec, field) for field in fields}
        self._ask("update_session", name, changed, expected_revision)
        known = self.get_session(name)
        generation = 1 + bool({"cpus", "memory_bytes", "pids", "disk_bytes"} & set(changed))
        return replace(known, spec=replace(known.spec, **changed), generation=generation, revision=5)

    def _want(self, method: str, name: str, desired: DesiredState) -> Session:
        self._ask(method, name)
        if name not in self.sessions:
            raise NotFound(f"there is no session {name}")
        return replace(self.sessions[name], desired=desired, generation=2, revision=5)

    def watch(self, parent: str = "", from_revision: int = 0, **how: Any) -> Iterator[WatchEvent]:
        return Client.watch(cast("Client", self), parent, from_revision, **how)

    def watch_sessions(
        self, parent: str = "", from_revision: int = 0, *, timeout: float | None = None
    ) -> Iterator[SessionEvent]:
        self._ask("watch_sessions", parent, from_revision)
        yield from (event for event in self.script if event.revision > from_revision)
        if self.silent:
            self.closed.wait(30)

    def read_logs(
        self, name: str, tail_lines: int = 0, follow: bool = False, *, since: datetime | None = None
    ) -> Iterator[bytes]:
        self._ask("read_logs", name, tail_lines, follow, since)
        yield from self.log

    def exec(self, start: ExecStart, incoming: Iterator[ToCommand]) -> Iterator[FromCommand]:
        self._ask("exec", start)
        for message in incoming if self.heeds_input else ():
            self.fed.append(message)
            if not isinstance(message, Stdin):
                break
        yield from self.output

    def watch_metrics(
        self, sessions: Sequence[str] = (), runners: Sequence[str] = (), parent: str = ""
    ) -> Iterator[list[MetricSample]]:
        self._ask("watch_metrics", sessions, runners, parent)
        yield from self.samples
        self.errors["watch_metrics"] = Unavailable("the server is away")

    def list_images(
        self, runner: str = "", *, unreachable: Callable[[str], object] = lambda _: None
    ) -> Iterator[ImageView]:
        self._ask("list_images", runner)
        for name in self.silent_runners:
            unreachable(name)
        yield from (view for view in self.images if runner in {"", view.runner})

    def delete_image(self, runner: str, reference: str, *, allow_missing: bool = False) -> None:
        self._ask("delete_image", runner, reference, allow_missing)

    def pull_image(self, runner: str, reference: str) -> Generator[ImageProgress | ImageView, None, None]:
        self._ask("pull_image", runner, reference)
        for step in self.pulled:
            if isinstance(step, BaseException):
                raise step
            yield step

    def publish_image(
        self, session: str, name: str, tag: str = ""
    ) -> Generator[ImageProgress | ImageView, None, None]:  # fmt: skip
        self._ask("publish_image", session, name, tag)
        yield from (step for step in self.pulled if not isinstance(step, BaseException))

    def get_default_image(self) -> DefaultImage:
        self._ask("get_default_image")
        return DefaultImage("netvps/debian:latest", 3)

    def update_default_image(self, reference: str) -> DefaultImage:
        self._ask("update_default_image", reference)
        return DefaultImage(reference or "netvps/debian:latest", 4)

    def list_registry_logins(self) -> Iterator[RegistryLogin]:
        self._ask("list_registry_logins")
        yield from self.logins

    def update_registry_login(self, host: str, username: str, password: str) -> RegistryLogin:
        self._ask("update_registry_login", host, username, password)
        return RegistryLogin(host, username, "", NOW, NOW, 3)

    def delete_registry_login(self, host: str) -> None:
        self._ask("delete_registry_login", host)

    def list_runners(self, matching: str = "", order_by: str = "") -> Iterator[RunnerView]:
        self._ask("list_runners", *filter(None, [matching, order_by]))
        yield self.get_runner("box1")

    def get_runner(self, name: str) -> RunnerView:
        self._ask("get_runner", name)
        capacity = replace(Capacity(4, 8 << 30, 50 << 30, "20.10"), **self.capacity)
        underlay = Underlay(("192.0.2.1", "2001:db8::1"), 1450) if self.overlay else None
        known = Runner("runner-uid", name, NOW, NOW, self.state, "0.1.0", capacity, (), underlay, self.problems)
        return RunnerView(
            replace(known, engine_problem=self.engine_problem, no_sessions=self.no_sessions),
            Lease("10.128.0.0/22", "runner-uid", 1),
            3,
            self.gpus_in_use,
        )

    def label_runner(self, name: str, labels: Mapping[str, str], remove: Iterable[str] = ()) -> RunnerView:
        self._ask("label_runner", name, labels, remove)
        view = self.get_runner(name)
        return replace(view, runner=relabelled(view.runner, labels, tuple(remove)))

    def cordon_runner(self, name: str) -> None:
        self._ask("cordon_runner", name)

    def delete_runner(self, name: str, *, force: bool = False) -> None:
        self._ask("delete_runner", name, force)

    def create_join_token(self) -> tuple[str, datetime]:
        self._ask("create_join_token")
        return "nvj_k_s_f", NOW + timedelta(hours=1)

    def get_network(self) -> Overview:
        self._ask("get_network")
        return Overview(OverlaySettings(""), 22, 7, 1, 2, 3, 4093, 5)

    def probe_links(self, runners: Sequence[str] = ()) -> Iterator[Path]:
        self._ask("probe_links", runners)
        yield from self.paths

    def check_network(self, sessions: Sequence[str] = ()) -> list[Finding]:
        self._ask("check_network", sessions)
        return self.findings

    def list_audit_records(self, query: AuditQuery) -> Iterator[AuditRecord]:
        self._ask("list_audit_records", query)
        found = [each for each in self.records if query.matches(each)]
        yield from found[::-1] if query.newest_first else found

    def issue_ssh_certificate(self, public_key: str, ttl: float | None = None) -> str:
        self._ask("issue_ssh_certificate", public_key, *([] if ttl is None else [ttl]))
        return f"{public_key.split(maxsplit=1)[0]}-cert-v01@openssh.com AAAA"

    def list_shares(self, session: str = "") -> Iterator[NamedShare]:
        self._ask("list_shares", session)
        yield from self.shares

    def share_session(
        self, session: str, user: str, role: ShareRole, expire_time: datetime | None = None
    ) -> NamedShare:
        self._ask("share_session", session, user, role, expire_time)
        made = NamedShare(Share("", "alice", user, role, NOW, expire_time), SessionName.parse(session, "alice"))
        self.shares = [made]
        return made

    def unshare_session(self, session: str, user: str) -> NamedShare:
        self._ask("unshare_session", session, user)
        return NamedShare(Share("", "alice", user, ShareRole.VIEW, NOW), SessionName.parse(session, "alice"))

    def list_ssh_keys(self, user: str = "") -> Iterator[SshKey]:
        self._ask("list_ssh_keys", user)
        yield from self.keys

    def create_ssh_key(self, public_key: str, title: str = "", user: str = "") -> SshKey:
        self._ask("create_ssh_key", public_key, title, user)
        parsed = PublicKey.parse(public_key)
        if parsed.fingerprint in self.taken:
            raise AlreadyExists(f"key {parsed.fingerprint} belongs to another user")
        made = SshKey("key-uid", "alice", parsed.text, parsed.fingerprint, title or parsed.comment, NOW)
        self.keys.append(made)
        return made

    def delete_ssh_key(self, uid_or_fingerprint: str, user: str = "") -> SshKey:
        self._ask("delete_ssh_key", uid_or_fingerprint, user)
        return SshKey("key-uid", "alice", "ssh-ed25519 AAAA", uid_or_fingerprint, "", NOW)


def put(changed: Session, revision: int) -> SessionEvent:
    """An event of a change."""
    return SessionEvent(EventType.PUT, replace(changed, revision=revision), revision)
