"""Runners, their capacity and their leases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from netvps.api.v1 import runner_pb2 as pb
from netvps.domain.overlay.peer_health import MAX_PROBLEMS, Problem
from netvps.domain.runner.gpu import GPU_ID, MAX_GPUS, Gpu
from netvps.domain.runner.runner import Capacity, Lease, Runner, RunnerState, RunnerView, Underlay
from netvps.rpc.convert import names
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.texts import sentence, word
from netvps.rpc.convert.times import optional_time_from_proto, time_from_proto, time_to_proto

_MAX_TEXT: Final = 500
RUNNER_STATE = EnumPair(RunnerState, pb.RunnerState, "RUNNER_STATE_")


def runner_to_proto(view: RunnerView) -> pb.Runner:
    """Converts all fields except the capabilities, which the API does not show."""
    runner = view.runner
    return pb.Runner(
        name=names.runner_name(runner.name),
        uid=runner.uid,
        state=RUNNER_STATE.to_proto(runner.state),
        version=runner.version,
        capacity=capacity_to_proto(runner.capacity),
        subnet=lease_to_proto(view.lease),
        session_count=view.session_count,
        create_time=time_to_proto(runner.create_time),
        last_seen_time=time_to_proto(runner.last_seen),
        revision=runner.revision,
        underlay=underlay_to_proto(runner.underlay),
        overlay_problems=problems_to_proto(runner.problems),
        no_sessions=runner.no_sessions,
        cordoned=runner.cordoned,
        labels=runner.labels,
        gateway_until_time=time_to_proto(runner.gateway_until) if runner.gateway_until else None,
        engine_problem=runner.engine_problem,
        isolation_problem=runner.isolation_problem,
        gpus_in_use=sorted(view.gpus_in_use),
    )


def runner_from_proto(message: pb.Runner) -> RunnerView:
    """Parses a runner. Raises InvalidInput."""
    runner = Runner(
        uid=message.uid,
        name=names.parse_runner_name(message.name),
        create_time=time_from_proto(message, "create_time"),
        last_seen=time_from_proto(message, "last_seen_time"),
        state=RUNNER_STATE.from_proto(message.state, "state"),
        version=message.version,
        capacity=capacity_from_proto(message.capacity),
        revision=message.revision,
        underlay=underlay_from_proto(message.underlay) if message.HasField("underlay") else None,
        problems=problems_from_proto(message.overlay_problems),
        no_sessions=message.no_sessions,
        cordoned=message.cordoned,
        labels=tuple(message.labels),
        gateway_until=optional_time_from_proto(message, "gateway_until_time"),
        engine_problem=problem_text(message.engine_problem),
        isolation_problem=problem_text(message.isolation_problem),
    )
    lease = lease_from_proto(message.subnet, message.uid)
    return RunnerView(runner, lease, message.session_count, frozenset(message.gpus_in_use))


def problem_text(message: str) -> str:
    """A runner's problem message, truncated."""
    return message[:_MAX_TEXT]


def problems_to_proto(problems: Iterable[Problem]) -> list[pb.OverlayProblem]:
    """Converts all fields."""
    return [pb.OverlayProblem(message=problem.message, peer_uid=problem.peer) for problem in problems]


def problems_from_proto(messages: Sequence[pb.OverlayProblem]) -> tuple[Problem, ...]:
    """The first MAX_PROBLEMS problems, with truncated messages."""
    return tuple(
        Problem(sentence(one.message, _MAX_TEXT), word(one.peer_uid, "overlay_problems.peer_uid"))
        for one in messages[:MAX_PROBLEMS]
    )


def capacity_to_proto(capacity: Capacity) -> pb.Capacity:
    """Converts all fields."""
    return pb.Capacity(
        cpus=capacity.cpus,
        memory_bytes=capacity.memory_bytes,
        disk_free_bytes=capacity.disk_free_bytes,
        engine_version=capacity.engine_version,
        disk_bytes=capacity.disk_bytes,
        disk_limits=capacity.disk_limits,
        disk_limits_problem=capacity.disk_limits_problem,
        gpus=map(_gpu_to_proto, capacity.gpus),
        gpu_problem=capacity.gpu_problem,
        architecture=capacity.architecture,
    )


def capacity_from_proto(message: pb.Capacity) -> Capacity:
    """Converts all fields. Raises InvalidInput."""
    engine = word(message.engine_version, "capacity.engine_version")
    return Capacity(
        message.cpus,
        message.memory_bytes,
        message.disk_free_bytes,
        engine,
        max(0, message.disk_bytes),
        message.disk_limits,
        problem_text(message.disk_limits_problem),
        _gpus_from_proto(message.gpus[:MAX_GPUS]),
        problem_text(message.gpu_problem),
        word(message.architecture, "capacity.architecture"),
    )


def _gpu_to_proto(gpu: Gpu) -> pb.Gpu:
    return pb.Gpu(
        uuid=gpu.id, name=gpu.name, memory_bytes=gpu.memory_bytes, pci_bus_id=gpu.pci, numa_node=gpu.numa_node
    )


def _gpus_from_proto(messages: Sequence[pb.Gpu]) -> tuple[Gpu, ...]:
    """Those with a UUID, each one once: what is listed twice would be given to two sessions."""
    known = {message.uuid: _gpu_from_proto(message) for message in messages if GPU_ID.fullmatch(message.uuid)}
    return tuple(known.values())


def _gpu_from_proto(message: pb.Gpu) -> Gpu:
    name, pci = sentence(message.name, _MAX_TEXT), word(message.pci_bus_id, "capacity.gpus.pci_bus_id")
    return Gpu(message.uuid, name, max(0, message.memory_bytes), pci, message.numa_node)


def lease_to_proto(lease: Lease) -> pb.Subnet:
    """Converts subnet and epoch; the enclosing message names the runner."""
    return pb.Subnet(cidr=lease.cidr, epoch=lease.epoch)


def lease_from_proto(message: pb.Subnet, runner_uid: str) -> Lease:
    """The lease of a runner; '' if its uid is not known."""
    return Lease(message.cidr, runner_uid, message.epoch)


def underlay_to_proto(underlay: Underlay | None) -> pb.Underlay | None:
    """Converts all fields; None if there is none."""
    return None if underlay is None else pb.Underlay(addresses=underlay.addresses, mtu=underlay.mtu)


def underlay_from_proto(message: pb.Underlay) -> Underlay:
    """Converts all fields."""
    return Underlay(tuple(message.addresses), message.mtu)
