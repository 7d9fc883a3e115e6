"""Hypothesis strategies for domain values, as they may be on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from netvps.domain.access.accounts import Role, SshKey, User
from netvps.domain.finding import Finding, Severity
from netvps.domain.metrics import MACHINE, Measurement, MetricSample, MetricsReport, MetricsRequest
from netvps.domain.names import SessionName
from netvps.domain.overlay.netmap import Endpoint, NetmapUpdate, Peer
from netvps.domain.overlay.path import Path, PathState
from netvps.domain.overlay.peer_health import Link, LinkState, ProbeReport, ProbeRequest, Problem
from netvps.domain.overlay.settings import OverlaySettings, Overview
from netvps.domain.runner.runner import (
    Capacity,
    CaughtUp,
    Heartbeat,
    Lease,
    LogRequest,
    Runner,
    RunnerHello,
    RunnerState,
    RunnerView,
    Underlay,
    Welcome,
)
from netvps.domain.server import ServerInfo
from netvps.domain.session.event import EventType, SessionEvent, SnapshotEvent
from netvps.domain.session.session import (
    Assignment,
    Author,
    ChangeCause,
    DesiredState,
    LastExit,
    Session,
    SessionReport,
    SessionState,
    SnapshotImage,
)
from netvps.domain.session.spec import Network, Placement, RestartPolicy, SessionSpec
from netvps.domain.sleep.policy import SleepPolicy, WakePolicy
from netvps.domain.snapshot.copies import CopyOrder, CopyPart, CopyReport, CopyRequest, CopyState
from netvps.domain.snapshot.policy import SnapshotPolicy
from netvps.domain.snapshot.snapshot import (
    Holder,
    Restore,
    RestoreResult,
    RestoreState,
    Snapshot,
    SnapshotCause,
    SnapshotOrder,
    SnapshotResult,
    SnapshotSource,
    SnapshotState,
)
from netvps.domain.uid import UID_PATTERN
from tests.fakes.keys import ed25519

text = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), max_size=20)  # printable
number = st.integers(0, (1 << 63) - 1)
small = st.integers(0, (1 << 31) - 1)
labels = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?", fullmatch=True)
times = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))


def _spec(ran: tuple[str, ...] | None, **fields: Any) -> SessionSpec:
    """A spec that runs its image's command or, unless that is empty, another one; None: it runs neither."""
    return SessionSpec(run_entrypoint=ran is not None, command=ran or (), **fields)


_commands = st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9), max_size=3)
specs = st.builds(
    _spec,
    ran=st.none() | _commands.map(tuple),
    image=st.sampled_from(["", "debian:12", "registry.example/a/b@sha256:00"]),
    cpus=st.just(0.0) | st.floats(0.01, 1024),
    memory_bytes=st.just(0) | st.integers(6 << 20, 1 << 50),
    pids=st.integers(16, 4_194_304),
    shm_bytes=st.just(0) | st.integers(64 << 10, 1 << 50),
    open_files=st.just(0) | st.integers(1024, 1 << 20),
    env=st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True),
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20),
        max_size=3,
    ),
    authorized_keys=st.lists(st.integers(0, 99).map(ed25519), max_size=3).map(tuple),
    network=st.sampled_from(Network),
    stop_grace=st.integers(0, 600_000).map(lambda milliseconds: milliseconds / 1000),
    labels=st.dictionaries(st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True), st.just("value"), max_size=3),
    delete_protection=st.booleans(),
    restart_policy=st.sampled_from(RestartPolicy),
    max_restarts=st.integers(0, 1000),
    snapshot_keep=st.integers(0, 100),
    snapshot_max_age=st.just(0.0) | st.integers(60, 1 << 27).map(float),
    snapshot_policy=st.builds(
        SnapshotPolicy,
        st.lists(st.sampled_from(["/var/cache", "/root/.cache/x y"]), max_size=2).map(tuple),
        st.just(0.0) | st.integers(900, 86_400).map(float),
        st.just(""),
        st.integers(0, 1000),
        st.just(0.0) | st.integers(900, 1 << 27).map(float),
        st.integers(0, 16),
    )
    | st.builds(SnapshotPolicy, daily_at=st.sampled_from(["00:00", "23:59"])),
    wake=st.sampled_from(WakePolicy),
    runner_filter=st.sampled_from(["", "labels.rack=3 -labels:gpu"]),
    placement=st.sampled_from(Placement),
    sleep=st.builds(
        SleepPolicy,
        st.sampled_from([None, 0.0, 30.0, 7200.5]),
        st.sampled_from([None, 0.0, 86_400.0]),
        st.sampled_from([0.0, 60.0]),
        st.sampled_from(["", "mon-fri 08:00-18:00"]),
        st.sampled_from([0.0, 0.5]),
    ),
)
images = st.builds(
    SnapshotImage, text, text, text, text, number, small, runner=labels, generation=number, create_time=times
)
authors = st.builds(Author, text, st.sampled_from(ChangeCause))
exits = st.builds(LastExit, st.integers(0, 255), text, times, authors)
uids = st.from_regex(UID_PATTERN, fullmatch=True)
restores = st.builds(Restore, text, text, text, times, st.sampled_from(RestoreState), text)
sources = st.builds("{}.{}/{}".format, labels, labels, labels).map(lambda name: SnapshotSource("", "", name))
snapshots = st.builds(
    Snapshot,
    uid=text,
    session=text,
    session_name=labels,
    owner=labels,
    id=labels,
    cause=st.sampled_from(SnapshotCause),
    create_time=times,
    update_time=times,
    state=st.sampled_from(SnapshotState),
    reason=text,
    message=text,
    description=text,
    labels=st.dictionaries(st.from_regex(r"[a-z0-9]{1,9}", fullmatch=True), st.just("value"), max_size=3),
    pinned=st.booleans(),
    size_bytes=number,
    digest=text,
    holders=st.lists(
        st.builds(Holder, st.just(""), labels, damaged=st.booleans(), leaving=st.booleans()),
        max_size=2,
        unique_by=lambda holder: holder.name,
    ).map(tuple),
    warnings=st.lists(text, max_size=2).map(tuple),
    ready_time=st.none() | times,
    revision=number,
)
sessions = st.builds(
    Session,
    uid=text,
    name=labels,
    owner=labels,
    spec=specs,
    desired=st.sampled_from(DesiredState),
    generation=number,
    create_time=times,
    update_time=times,
    state=st.sampled_from(SessionState),
    observed_generation=number,
    reason=text,
    message=text,
    runner=st.just(""),  # a client never learns the uid
    runner_name=st.just("") | labels,
    epoch=number,
    snapshot=st.none() | images,
    last_exit=st.none() | exits,
    address=text,
    restore=st.none() | restores,
    source=st.none() | sources,
    revision=number,
    desired_by=authors,
)
snapshot_events = st.builds(SnapshotEvent, st.sampled_from(EventType), st.none() | snapshots, number)
full_names = st.builds(SessionName, labels, labels)
events = st.builds(SessionEvent, st.sampled_from(EventType), st.none() | sessions, number)
capacities = st.builds(Capacity, small, number, number, text)
hosts = st.integers(1, 254).map(lambda last: f"192.0.2.{last}") | st.sampled_from(["2001:db8::1", "10.0.0.1"])
underlays = st.builds(Underlay, st.lists(hosts, min_size=1, max_size=3).map(tuple), st.integers(1280, 9000))
problems = st.lists(st.builds(Problem, text, text), max_size=3).map(tuple)
runners = st.builds(
    Runner,
    text,
    labels,
    times,
    times,
    st.sampled_from(RunnerState),
    text,
    capacities,
    st.just(()),
    st.none() | underlays,
    problems,
    st.none() | times,
    st.booleans(),
    number,
    text,
    text,
)
views = st.builds(
    lambda runner, cidr, epoch, count: RunnerView(runner, Lease(cidr, runner.uid, epoch), count),
    runners,
    text,
    number,
    small,
)
hellos = st.builds(
    RunnerHello,
    text.filter(bool),
    text,
    capacities,
    st.lists(text, max_size=2).map(tuple),
    number,
    st.none() | underlays,
    number,
    problems,
    text,
    text,
)
heartbeats = st.builds(Heartbeat, capacities, st.none() | underlays, number, text, problems, text, text)
links = st.builds(
    Link, text, st.sampled_from(LinkState), st.none() | st.integers(0, 10**7).map(lambda us: us / 1e6), small, text
)
probe_reports = st.builds(ProbeReport, text, st.lists(links, max_size=3).map(tuple))
probe_requests = st.builds(ProbeRequest, text, st.lists(text, max_size=3).map(tuple))
reports = st.builds(
    SessionReport,
    text,
    number,
    number,
    st.sampled_from(SessionState),
    text,
    text,
    text,
    st.none() | images,
    st.none() | exits,
    snapshots=st.lists(
        st.builds(
            SnapshotResult,
            uids,
            st.sampled_from(SnapshotState),
            text,
            text,
            number,
            text,
            st.lists(text, max_size=2).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
    restore=st.none() | st.builds(RestoreResult, text, st.sampled_from(RestoreState), text),
)
assignments = st.builds(
    Assignment,
    text,
    labels,
    labels,
    number,
    number,
    st.sampled_from(DesiredState),
    specs,
    st.none() | images,
    number,
    text,
    st.lists(st.builds(SnapshotOrder, uids, st.booleans()), max_size=3).map(tuple),
    st.none() | restores,
    st.none() | st.builds(SnapshotSource, uids, uids),
    local_address=text,
)
overlay_settings = st.builds(OverlaySettings, text, text, small, small)
overviews = st.builds(
    Overview,
    st.builds(OverlaySettings, st.just(""), text, small, small),
    small,
    number,
    small,
    small,
    small,
    small,
    small,
)
paths = st.builds(
    Path,
    labels,
    labels,
    st.sampled_from(PathState),
    st.none() | st.integers(0, 10**9).map(lambda us: us / 1e6),
    small,
    small,
    text,
    text,
    text,
)
findings = st.builds(Finding, st.sampled_from(Severity), text, text, text)
welcomes = st.builds(
    lambda name, interval, cidr, epoch, overlay_settings: Welcome(
        name, interval, Lease(cidr, "", epoch), overlay_settings
    ),
    labels,
    st.integers(1, 60_000).map(lambda milliseconds: milliseconds / 1000),
    text,
    number,
    overlay_settings,
)
peers = st.builds(
    lambda uid, name, number, epoch, underlay, gateway: Peer(
        uid, name, Lease(f"10.128.{4 * number}.0/22", uid, epoch), f"02:00:00:00:00:{number:02x}", underlay, gateway
    ),
    uids,
    labels,
    st.integers(0, 63),
    st.integers(1, 1 << 40),
    underlays,
    st.booleans(),
)
endpoints = st.builds(
    Endpoint, uids, labels, labels, st.integers(2, 250).map(lambda last: f"10.128.0.{last}"), st.just("") | uids
)
netmap_updates = st.builds(
    NetmapUpdate,
    number,
    st.lists(peers, max_size=3).map(tuple),
    st.lists(endpoints, max_size=3).map(tuple),
    st.lists(uids, max_size=2).map(tuple),
    st.lists(uids, max_size=2).map(tuple),
    st.booleans(),
    st.booleans(),
    text,
)
log_requests = st.builds(LogRequest, text, text, small, st.booleans())
caught_up = st.builds(CaughtUp, number)
users = st.builds(User, labels, st.sampled_from(Role), times, number)
ssh_keys = st.builds(SshKey, text.filter(bool), labels, text, text, text, times, number)
infos = st.builds(ServerInfo, text, text, text, text, text, text, text, text)
rates = st.floats(0, 1e15)
measurements = st.builds(
    Measurement, cpus=rates, memory_bytes=number, received_rate=st.none() | rates, sent_rate=st.none() | rates
)
metric_samples = st.builds(MetricSample, name=text, time=times, measured=measurements)
metrics_requests = st.builds(MetricsRequest, session_uids=st.frozensets(labels, max_size=3), machine=st.booleans())
metrics_reports = st.builds(MetricsReport, st.dictionaries(st.just(MACHINE) | labels, measurements, max_size=3))

copy_orders = st.builds(CopyOrder, uids, uids, st.booleans(), st.booleans())
copy_reports = st.builds(
    CopyReport,
    uids,
    uids,
    st.sampled_from(CopyState),
    st.just("why"),
    number,
    number,
    number,
    st.just("") | uids,
)
copy_requests = st.builds(CopyRequest, labels, uids, uids, st.sampled_from(CopyPart), number)
