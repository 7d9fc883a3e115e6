"""Domain values as the JSON form of their protos, for `-o json`: the names and forms of any gRPC client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from google.protobuf.json_format import MessageToDict, Parse, ParseError
from google.protobuf.message import Message

from netvps.api.v1 import audit_pb2 as pb
from netvps.domain.access.accounts import ApiKey, SshKey, User
from netvps.domain.access.audit import AuditRecord
from netvps.domain.access.invitations import InvitationView
from netvps.domain.access.quota import QuotaUse
from netvps.domain.access.sharing import NamedShare
from netvps.domain.http.stored import NamedUrl
from netvps.domain.image.image import DefaultImage, ImageView
from netvps.domain.image.login import RegistryLogin
from netvps.domain.metrics import MetricSample
from netvps.domain.overlay.path import Path
from netvps.domain.overlay.settings import Overview
from netvps.domain.runner.placement import SessionPlan
from netvps.domain.runner.runner import RunnerView
from netvps.domain.scheduling.address import AddressReservation
from netvps.domain.scheduling.lease import NamedLease
from netvps.domain.server import ServerInfo
from netvps.domain.session.event import SessionEvent, SnapshotEvent
from netvps.domain.session.session import Session
from netvps.domain.sleep.idle import SleepPlan
from netvps.domain.snapshot.diff import Diff
from netvps.domain.snapshot.snapshot import Snapshot
from netvps.domain.task.task import Task
from netvps.errors import InvalidInput
from netvps.rpc.convert import images
from netvps.rpc.convert.access.quotas import use_to_proto
from netvps.rpc.convert.access.registration import invitation_to_proto
from netvps.rpc.convert.audit import audit_record_from_proto, audit_record_to_proto
from netvps.rpc.convert.http.urls import stored_url_to_proto
from netvps.rpc.convert.metrics import sample_to_proto
from netvps.rpc.convert.registries import login_to_proto
from netvps.rpc.convert.runner.network import overview_to_proto, path_to_proto
from netvps.rpc.convert.runner.runners import runner_to_proto
from netvps.rpc.convert.scheduling.addresses import reservation_to_proto
from netvps.rpc.convert.scheduling.leases import lease_to_proto
from netvps.rpc.convert.server_info import server_info_to_proto
from netvps.rpc.convert.session.diffs import diff_to_proto
from netvps.rpc.convert.session.events import event_to_proto
from netvps.rpc.convert.session.sessions import session_plan_to_proto, session_to_proto
from netvps.rpc.convert.session.sleep import plan_to_proto
from netvps.rpc.convert.session.snapshots import snapshot_event_to_proto, snapshot_to_proto
from netvps.rpc.convert.shares import share_to_proto
from netvps.rpc.convert.ssh_keys import ssh_key_to_proto
from netvps.rpc.convert.task.tasks import task_to_proto
from netvps.rpc.convert.users import listed_api_key_to_proto, user_to_proto

Printable = (
    Session
    | SessionEvent
    | Snapshot
    | SnapshotEvent
    | ImageView
    | DefaultImage
    | RegistryLogin
    | Diff
    | User
    | ApiKey
    | SshKey
    | InvitationView
    | QuotaUse
    | NamedShare
    | NamedUrl
    | NamedLease
    | AddressReservation
    | ServerInfo
    | RunnerView
    | Overview
    | Path
    | MetricSample
    | AuditRecord
    | SleepPlan
    | SessionPlan
    | Task
)


def to_json(value: Printable) -> dict[str, Any]:
    """The proto's JSON form (https://protobuf.dev/programming-guides/json/) of a domain value, as plain values."""
    found: dict[str, Any] = MessageToDict(_TO_PROTO[type(value)](value))
    return found


def audit_record_from_json(text: str) -> AuditRecord:
    """The audit record that `to_json` made this JSON of. Raises ValueError."""
    try:
        return audit_record_from_proto(Parse(text, pb.AuditRecord()))
    except (ParseError, InvalidInput) as error:
        raise ValueError(str(error)) from None


_TO_PROTO: Final[dict[type[Printable], Callable[[Any], Message]]] = {
    Session: session_to_proto,
    AuditRecord: audit_record_to_proto,
    SleepPlan: plan_to_proto,
    SessionPlan: session_plan_to_proto,
    SessionEvent: event_to_proto,
    Snapshot: snapshot_to_proto,
    SnapshotEvent: snapshot_event_to_proto,
    ImageView: images.view_to_proto,
    DefaultImage: images.default_to_proto,
    RegistryLogin: login_to_proto,
    Diff: diff_to_proto,
    InvitationView: invitation_to_proto,
    QuotaUse: use_to_proto,
    User: user_to_proto,
    ApiKey: listed_api_key_to_proto,
    SshKey: ssh_key_to_proto,
    NamedShare: share_to_proto,
    NamedUrl: stored_url_to_proto,
    NamedLease: lease_to_proto,
    AddressReservation: reservation_to_proto,
    ServerInfo: server_info_to_proto,
    RunnerView: runner_to_proto,
    Overview: overview_to_proto,
    Path: path_to_proto,
    MetricSample: sample_to_proto,
    Task: task_to_proto,
}
