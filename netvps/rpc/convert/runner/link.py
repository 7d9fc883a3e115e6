"""Messages between a runner and the control plane."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from netvps.api.v1 import link_pb2 as pb
from netvps.domain.checks import Checks
from netvps.domain.image.ahead import LABELS_MAX, check_label_pair
from netvps.domain.image.copies import ImageRequest
from netvps.domain.metrics import MetricsReport, MetricsRequest
from netvps.domain.overlay.netmap import NetmapUpdate
from netvps.domain.overlay.peer_health import ProbeReport, ProbeRequest
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.runner.runner import CaughtUp, Heartbeat, LogRequest, RunnerHello, Underlay, Welcome
from netvps.domain.session.session import Assignment, SessionReport
from netvps.domain.snapshot.copies import CopyOrder, CopyReport, CopyRequest
from netvps.domain.snapshot.exchange import FilesRequest
from netvps.domain.task.task import TaskOrder, TaskReport
from netvps.errors import InvalidInput
from netvps.rpc.convert import names
from netvps.rpc.convert.metrics import (
    metrics_report_from_proto,
    metrics_report_to_proto,
    metrics_request_from_proto,
    metrics_request_to_proto,
)
from netvps.rpc.convert.runner.copies import (
    copy_order_from_proto,
    copy_order_to_proto,
    copy_report_from_proto,
    copy_report_to_proto,
    copy_request_from_proto,
    copy_request_to_proto,
    image_request_from_proto,
    image_request_to_proto,
)
from netvps.rpc.convert.runner.files import files_request_from_proto, files_request_to_proto
from netvps.rpc.convert.runner.netmap import netmap_update_from_proto, netmap_update_to_proto
from netvps.rpc.convert.runner.probes import (
    probe_report_from_proto,
    probe_report_to_proto,
    probe_request_from_proto,
    probe_request_to_proto,
)
from netvps.rpc.convert.runner.runners import (
    capacity_from_proto,
    capacity_to_proto,
    lease_from_proto,
    lease_to_proto,
    problem_text,
    problems_from_proto,
    problems_to_proto,
    underlay_from_proto,
    underlay_to_proto,
)
from netvps.rpc.convert.runner.snapshots import (
    order_from_proto,
    order_to_proto,
    restore_result_from_proto,
    restore_result_to_proto,
    result_to_proto,
    results_from_proto,
    source_from_proto,
    source_to_proto,
)
from netvps.rpc.convert.session.sessions import (
    DESIRED_STATE,
    SESSION_STATE,
    last_exit_from_proto,
    last_exit_to_proto,
    spec_from_proto,
    spec_to_proto,
)
from netvps.rpc.convert.session.snapshots import image_from_proto, image_to_proto, restore_from_proto, restore_to_proto
from netvps.rpc.convert.task.orders import (
    task_order_from_proto,
    task_order_to_proto,
    task_report_from_proto,
    task_report_to_proto,
)
from netvps.rpc.convert.texts import sentence, word, words
from netvps.rpc.convert.times import (
    duration_from_proto,
    duration_to_proto,
    optional_time_from_proto,
    time_to_proto,
)

_MAX_CAPABILITIES: Final = 64

FromRunner = Heartbeat | SessionReport | ProbeReport | MetricsReport | CopyReport | TaskReport
ToRunner = (
    Welcome | Assignment | CaughtUp | NetmapUpdate | LogRequest | ProbeRequest | MetricsRequest | FilesRequest
    | CopyOrder | CopyRequest | ImageRequest | TaskOrder
)  # fmt: skip


def hello_to_proto(hello: RunnerHello) -> pb.ConnectRequest:
    """The first message of a runner."""
    return pb.ConnectRequest(
        hello=pb.RunnerHello(
            instance_id=hello.instance_id,
            version=hello.version,
            capacity=capacity_to_proto(hello.capacity),
            capabilities=hello.capabilities,
            resume_revision=hello.resume_revision,
            underlay=underlay_to_proto(hello.underlay),
            netmap_generation=hello.netmap_generation,
            overlay_problems=problems_to_proto(hello.problems),
            engine_problem=hello.engine_problem,
            isolation_problem=hello.isolation_problem,
            no_sessions=hello.no_sessions,
            labels=hello.labels,
        )
    )


def hello_from_proto(message: pb.ConnectRequest) -> RunnerHello:
    """Parses the first message. Raises InvalidInput, also for any other message."""
    hello = message.hello
    if message.WhichOneof("message") != "hello" or not hello.instance_id:
        raise InvalidInput.of("hello", "the first message must be hello, with an instance_id")
    return RunnerHello(
        instance_id=word(hello.instance_id, "hello.instance_id"),
        version=word(hello.version, "hello.version"),
        capacity=capacity_from_proto(hello.capacity),
        capabilities=words(hello.capabilities, "hello.capabilities", _MAX_CAPABILITIES),
        resume_revision=hello.resume_revision,
        underlay=_underlay_from_proto(hello, "hello"),
        netmap_generation=hello.netmap_generation,
        problems=problems_from_proto(hello.overlay_problems),
        engine_problem=problem_text(hello.engine_problem),
        isolation_problem=problem_text(hello.isolation_problem),
        no_sessions=hello.no_sessions,
        labels=tuple(check_label_pair(label, "hello.labels") for label in hello.labels[:LABELS_MAX]),
    )


def from_runner_to_proto(message: FromRunner) -> pb.ConnectRequest:
    """Any message of a runner after the first."""
    match message:
        case Heartbeat():
            return pb.ConnectRequest(heartbeat=_heartbeat_to_proto(message))
        case SessionReport():
            return pb.ConnectRequest(report=_report_to_proto(message))
        case ProbeReport():
            return pb.ConnectRequest(probe_report=probe_report_to_proto(message))
        case MetricsReport():
            return pb.ConnectRequest(metrics_report=metrics_report_to_proto(message))
        case CopyReport():
            return pb.ConnectRequest(copy_report=copy_report_to_proto(message))
        case TaskReport():
            return pb.ConnectRequest(task_report=task_report_to_proto(message))


def from_runner_from_proto(message: pb.ConnectRequest) -> FromRunner:
    """Parses a message after the first. Raises InvalidInput."""
    match message.WhichOneof("message"):
        case "heartbeat":
            return _heartbeat_from_proto(message.heartbeat)
        case "report":
            return _report_from_proto(message.report)
        case "probe_report":
            return probe_report_from_proto(message.probe_report)
        case "metrics_report":
            return metrics_report_from_proto(message.metrics_report)
        case "copy_report":
            return copy_report_from_proto(message.copy_report)
        case "task_report":
            return task_report_from_proto(message.task_report)
    raise InvalidInput.of("message", "only heartbeat and the reports may follow hello")


def to_runner_to_proto(message: ToRunner) -> pb.ConnectResponse:
    """Any message of the control plane except the drain."""
    kind, convert = _TO_RUNNER_KINDS[type(message)]
    return pb.ConnectResponse(**{kind: convert(message)})


def to_runner_from_proto(message: pb.ConnectResponse) -> ToRunner | None:
    """Parses a message; None for an unknown kind, which a newer control plane may send. Raises InvalidInput."""
    kind = message.WhichOneof("message")
    return _TO_RUNNER[kind](getattr(message, kind)) if kind and kind in _TO_RUNNER else None


def _heartbeat_to_proto(heartbeat: Heartbeat) -> pb.Heartbeat:
    return pb.Heartbeat(
        capacity=capacity_to_proto(heartbeat.capacity),
        underlay=underlay_to_proto(heartbeat.underlay),
        netmap_generation=heartbeat.netmap_generation,
        netmap_digest=heartbeat.netmap_digest,
        overlay_problems=problems_to_proto(heartbeat.problems),
        engine_problem=heartbeat.engine_problem,
        isolation_problem=heartbeat.isolation_problem,
    )


def _heartbeat_from_proto(message: pb.Heartbeat) -> Heartbeat:
    return Heartbeat(
        capacity=capacity_from_proto(message.capacity),
        underlay=_underlay_from_proto(message, "heartbeat"),
        netmap_generation=message.netmap_generation,
        netmap_digest=word(message.netmap_digest, "heartbeat.netmap_digest"),
        problems=problems_from_proto(message.overlay_problems),
        engine_problem=problem_text(message.engine_problem),
        isolation_problem=problem_text(message.isolation_problem),
    )


def _underlay_from_proto(message: pb.RunnerHello | pb.Heartbeat, field: str) -> Underlay | None:
    if not message.HasField("underlay"):
        return None
    checks, underlay = Checks(), None
    with checks.nested(f"{field}.underlay"):
        underlay = underlay_from_proto(message.underlay)
    checks.done()
    return underlay


def _report_to_proto(report: SessionReport) -> pb.SessionReport:
    return pb.SessionReport(
        session_uid=report.session_uid,
        epoch=report.epoch,
        generation=report.generation,
        state=SESSION_STATE.to_proto(report.state),
        reason=report.reason,
        message=report.message,
        address=report.address,
        snapshot=image_to_proto(report.snapshot) if report.snapshot else None,
        last_exit=last_exit_to_proto(report.last_exit) if report.last_exit else None,
        progress=report.progress,
        snapshots=map(result_to_proto, report.snapshots),
        restore=restore_result_to_proto(report.restore) if report.restore else None,
    )


def _report_from_proto(message: pb.SessionReport) -> SessionReport:
    return SessionReport(
        session_uid=word(message.session_uid, "report.session_uid"),
        epoch=message.epoch,
        generation=message.generation,
        state=SESSION_STATE.from_proto(message.state, "report.state"),
        reason=word(message.reason, "report.reason"),
        message=sentence(message.message),
        address=word(message.address, "report.address"),
        snapshot=image_from_proto(message.snapshot) if message.HasField("snapshot") else None,
        last_exit=last_exit_from_proto(message.last_exit) if message.HasField("last_exit") else None,
        progress=message.progress,
        snapshots=results_from_proto(message),
        restore=restore_result_from_proto(message.restore) if message.HasField("restore") else None,
    )


def _welcome_to_proto(welcome: Welcome) -> pb.Welcome:
    return pb.Welcome(
        runner=names.runner_name(welcome.runner),
        cluster_id=welcome.overlay_settings.cluster_id,
        heartbeat_interval=duration_to_proto(welcome.heartbeat_interval),
        subnet=lease_to_proto(welcome.lease),
        fabric=pb.Fabric(
            pool=welcome.overlay_settings.pool, vni=welcome.overlay_settings.vni, port=welcome.overlay_settings.port
        ),
    )


def _welcome_from_proto(message: pb.Welcome) -> Welcome:
    interval = duration_from_proto(message.heartbeat_interval)
    if interval <= 0:
        raise InvalidInput.of("heartbeat_interval", f"{interval} s is not more than 0")
    return Welcome(
        runner=names.parse_runner_name(message.runner, "runner"),
        heartbeat_interval=interval,
        lease=lease_from_proto(message.subnet, ""),
        overlay_settings=OverlaySettings(
            message.cluster_id, message.fabric.pool, message.fabric.vni, message.fabric.port
        ),
    )


def _assignment_to_proto(assignment: Assignment) -> pb.Assignment:
    return pb.Assignment(
        session_uid=assignment.session_uid,
        session_id=assignment.session_id,
        owner_id=assignment.owner_id,
        epoch=assignment.epoch,
        generation=assignment.generation,
        desired_state=DESIRED_STATE.to_proto(assignment.desired),
        spec=spec_to_proto(assignment.spec),
        snapshot=image_to_proto(assignment.snapshot) if assignment.snapshot else None,
        revision=assignment.revision,
        address=assignment.address,
        snapshot_orders=map(order_to_proto, assignment.snapshot_orders),
        restore=restore_to_proto(assignment.restore) if assignment.restore else None,
        source=source_to_proto(assignment.source) if assignment.source else None,
        gpus=assignment.gpus,
        local_address=assignment.local_address,
    )


def _assignment_from_proto(message: pb.Assignment) -> Assignment:
    return Assignment(
        session_uid=message.session_uid,
        session_id=message.session_id,
        owner_id=message.owner_id,
        epoch=message.epoch,
        generation=message.generation,
        desired=DESIRED_STATE.from_proto(message.desired_state, "desired_state"),
        spec=spec_from_proto(message.spec),
        snapshot=image_from_proto(message.snapshot) if message.HasField("snapshot") else None,
        revision=message.revision,
        address=message.address,
        snapshot_orders=tuple(map(order_from_proto, message.snapshot_orders)),
        restore=restore_from_proto(message.restore) if message.HasField("restore") else None,
        source=source_from_proto(message.source) if message.HasField("source") else None,
        gpus=tuple(message.gpus),
        local_address=message.local_address,
    )


def _log_request_to_proto(request: LogRequest) -> pb.LogRequest:
    return pb.LogRequest(
        stream_id=request.stream_id,
        session_uid=request.session_uid,
        tail_lines=request.tail_lines,
        follow=request.follow,
        since_time=time_to_proto(request.since) if request.since else None,
        task_id=request.task_id,
    )


def _log_request_from_proto(message: pb.LogRequest) -> LogRequest:
    since = optional_time_from_proto(message, "since_time")
    tail, task_id = message.tail_lines, message.task_id
    return LogRequest(message.stream_id, message.session_uid, tail, message.follow, since, task_id)


_TO_RUNNER: Final[dict[str, Callable[[Any], ToRunner | None]]] = {
    "welcome": _welcome_from_proto,
    "assignment": _assignment_from_proto,
    "caught_up": lambda message: CaughtUp(message.revision),
    "netmap": netmap_update_from_proto,
    "log_request": _log_request_from_proto,
    "probe_request": probe_request_from_proto,
    "metrics_request": metrics_request_from_proto,
    "files_request": files_request_from_proto,
    "copy_order": copy_order_from_proto,
    "copy_request": copy_request_from_proto,
    "image_copy_request": image_request_from_proto,
    "task_order": task_order_from_proto,
}
_TO_RUNNER_KINDS: Final[dict[type[ToRunner], tuple[str, Callable[[Any], Any]]]] = {
    Welcome: ("welcome", _welcome_to_proto),
    Assignment: ("assignment", _assignment_to_proto),
    CaughtUp: ("caught_up", lambda message: pb.CaughtUp(revision=message.revision)),
    NetmapUpdate: ("netmap", netmap_update_to_proto),
    LogRequest: ("log_request", _log_request_to_proto),
    ProbeRequest: ("probe_request", probe_request_to_proto),
    MetricsRequest: ("metrics_request", metrics_request_to_proto),
    FilesRequest: ("files_request", files_request_to_proto),
    CopyOrder: ("copy_order", copy_order_to_proto),
    CopyRequest: ("copy_request", copy_request_to_proto),
    ImageRequest: ("image_copy_request", image_request_to_proto),
    TaskOrder: ("task_order", task_order_to_proto),
}
