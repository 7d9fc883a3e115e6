"""netvps for Python programs: what to import.

    from netvps.client import Client, Endpoint, SessionSpec, SessionState

    with Client(Endpoint("unix:/run/netvps/api.sock")) as client:
        session = client.create_session("job1", SessionSpec(image="debian:12", cpus=2))
        client.wait(session.name, SessionState.RUNNING, timeout=60)

Client blocks; AsyncClient has the same methods, awaited. Both take and return frozen values, raise the errors of
netvps.errors, have a deadline for each call, and repeat a call whose connection broke if that is safe: reads, and
mutations, whose request id stays the same. A command (`exec`) is never repeated. `watch` yields every change once, over
breaks, and `wait` returns when a session is as wanted.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from netvps.domain.server import ServerInfo
from netvps.domain.session.event import EventType, SessionEvent
from netvps.domain.session.session import DesiredState, Session, SessionState, SnapshotImage
from netvps.domain.session.spec import Network, Placement, SessionSpec
from netvps.rpc.client.client import Client, Endpoint, fetch_server_info
from netvps.rpc.client.watching import Interrupted, Reset, WatchEvent

if TYPE_CHECKING:
    from netvps.domain.access.accounts import ApiKey, Role, SshKey, User
    from netvps.domain.batch import NewSession, NotCreated
    from netvps.domain.filter.kinds import RunnerFilter, SessionFilter
    from netvps.domain.image.image import DefaultImage, ImageProgress, ImageView
    from netvps.domain.image.login import RegistryLogin
    from netvps.domain.metrics import MetricSample
    from netvps.domain.runner.placement import SessionPlan, Verdict
    from netvps.domain.runner.runner import RunnerState, RunnerView
    from netvps.domain.scheduling.address import AddressReservation
    from netvps.domain.scheduling.lease import NamedLease, SessionLease
    from netvps.domain.session.event import SnapshotEvent
    from netvps.domain.session.exec import ExecStart, Exit, Stderr, Stdin, StdinEof, Stdout, TerminalSize
    from netvps.domain.session.lifecycle import settled
    from netvps.domain.snapshot.diff import Diff
    from netvps.domain.snapshot.snapshot import Snapshot, SnapshotChange, SnapshotDraft, SnapshotState
    from netvps.domain.task.spec import TaskSpec
    from netvps.domain.task.task import Task, TaskCause, TaskState
    from netvps.rpc.client.async_client import AsyncClient
    from netvps.rpc.client.calls.sessions import SessionPage

__all__ = [
    "AddressReservation",
    "ApiKey",
    "AsyncClient",
    "Client",
    "DefaultImage",
    "DesiredState",
    "Diff",
    "Endpoint",
    "EventType",
    "ExecStart",
    "Exit",
    "ImageProgress",
    "ImageView",
    "Interrupted",
    "MetricSample",
    "NamedLease",
    "Network",
    "NewSession",
    "NotCreated",
    "Placement",
    "RegistryLogin",
    "Reset",
    "Role",
    "RunnerFilter",
    "RunnerState",
    "RunnerView",
    "ServerInfo",
    "Session",
    "SessionEvent",
    "SessionFilter",
    "SessionLease",
    "SessionPage",
    "SessionPlan",
    "SessionSpec",
    "SessionState",
    "Snapshot",
    "SnapshotChange",
    "SnapshotDraft",
    "SnapshotEvent",
    "SnapshotImage",
    "SnapshotState",
    "SshKey",
    "Stderr",
    "Stdin",
    "StdinEof",
    "Stdout",
    "Task",
    "TaskCause",
    "TaskSpec",
    "TaskState",
    "TerminalSize",
    "User",
    "Verdict",
    "WatchEvent",
    "fetch_server_info",
    "settled",
]


_ON_DEMAND: Final = {
    "netvps.domain.access.accounts": {"ApiKey", "Role", "SshKey", "User"},
    "netvps.domain.filter.kinds": {"RunnerFilter", "SessionFilter"},
    "netvps.domain.image.image": {"DefaultImage", "ImageProgress", "ImageView"},
    "netvps.domain.image.login": {"RegistryLogin"},
    "netvps.domain.metrics": {"MetricSample"},
    "netvps.domain.runner.placement": {"SessionPlan", "Verdict"},
    "netvps.domain.runner.runner": {"RunnerState", "RunnerView"},
    "netvps.domain.scheduling.address": {"AddressReservation"},
    "netvps.domain.scheduling.lease": {"NamedLease", "SessionLease"},
    "netvps.domain.batch": {"NewSession", "NotCreated"},
    "netvps.domain.session.event": {"SnapshotEvent"},
    "netvps.domain.snapshot.diff": {"Diff"},
    "netvps.domain.snapshot.snapshot": {"Snapshot", "SnapshotChange", "SnapshotDraft", "SnapshotState"},
    "netvps.domain.session.exec": {"ExecStart", "Exit", "Stderr", "Stdin", "StdinEof", "Stdout", "TerminalSize"},
    "netvps.domain.session.lifecycle": {"settled"},
    "netvps.domain.task.spec": {"TaskSpec"},
    "netvps.domain.task.task": {"Task", "TaskCause", "TaskState"},
    "netvps.rpc.client.async_client": {"AsyncClient"},
    "netvps.rpc.client.calls.sessions": {"SessionPage"},
}
"""What a program pays for only if it uses it: every command of the CLI imports this module."""


def __getattr__(name: str) -> Any:
    """Imports a name that is used."""
    for module, names in _ON_DEMAND.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
