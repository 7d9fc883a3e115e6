"""Sessions and their specs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import session_change_pb2 as change_pb
from netvps.api.v1 import session_pb2 as pb
from netvps.api.v1 import session_sleep_pb2 as sleep_pb
from netvps.api.v1 import session_spec_pb2 as spec_pb
from netvps.domain.checks import Checks
from netvps.domain.names import SessionName
from netvps.domain.session.session import Author, ChangeCause, DesiredState, LastExit, Session, SessionState
from netvps.domain.session.spec import DEFAULT_GRACE, DEFAULT_PIDS, Network, Placement, RestartPolicy, SessionSpec
from netvps.domain.sleep.policy import SleepPolicy, WakePolicy
from netvps.domain.snapshot.policy import SnapshotPolicy
from netvps.domain.snapshot.snapshot import SnapshotSource
from netvps.rpc.convert import names
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.session.policies import (
    policy_from_proto,
    policy_to_proto,
    sleep_policy_from_proto,
    sleep_policy_to_proto,
)
from netvps.rpc.convert.session.snapshots import (
    image_from_proto,
    image_to_proto,
    restore_from_proto,
    restore_to_proto,
)
from netvps.rpc.convert.texts import sentence, word
from netvps.rpc.convert.times import duration_from_proto, duration_to_proto, time_from_proto, time_to_proto

if TYPE_CHECKING:
    from netvps.domain.runner.placement import SessionPlan

SESSION_STATE = EnumPair(SessionState, pb.SessionState, "SESSION_STATE_")
DESIRED_STATE = EnumPair(DesiredState, pb.DesiredState, "DESIRED_STATE_")
CHANGE_CAUSE = EnumPair(ChangeCause, change_pb.ChangeCause, "CHANGE_CAUSE_")
RESTART_POLICY = EnumPair(RestartPolicy, change_pb.RestartPolicy, "RESTART_POLICY_")
_PATHS = {"snapshot_keep": "snapshot_retention.keep", "snapshot_max_age": "snapshot_retention.max_age"}
"""Fields of a spec that are elsewhere in its message."""
WAKE_POLICY = EnumPair(WakePolicy, sleep_pb.WakePolicy, "WAKE_POLICY_")
PLACEMENT = EnumPair(Placement, spec_pb.PlacementPolicy, "PLACEMENT_POLICY_")
NETWORK = EnumPair(Network, spec_pb.SessionNetwork, "SESSION_NETWORK_")


def session_to_proto(session: Session) -> pb.Session:
    """Converts a session. The API refers to runners by name; their uids are internal."""
    return _session_to_proto(session, spec_to_proto(session.spec))


def listed_to_proto(session: Session) -> pb.Session:
    """A session in lists and events: without environment and keys, so that more sessions fit on a page."""
    return _session_to_proto(session, _listed_spec_to_proto(session.spec))


def session_plan_to_proto(plan: SessionPlan) -> pb.Session:
    """A session that is not created, with what speaks against each runner."""
    message = session_to_proto(plan.session)
    message.runner_verdicts.extend(
        pb.RunnerVerdict(runner=names.runner_name(one.runner), reason=one.reason) for one in plan.verdicts
    )
    return message


def session_plan_from_proto(message: pb.Session) -> SessionPlan:
    """Parses such a session. Raises InvalidInput."""
    from netvps.domain.runner.placement import SessionPlan, Verdict  # what only this needs: filters, runners

    verdicts = [
        Verdict(names.parse_runner_name(one.runner, "runner"), sentence(one.reason)) for one in message.runner_verdicts
    ]
    return SessionPlan(session_from_proto(message), tuple(verdicts))


def _session_to_proto(session: Session, spec: spec_pb.SessionSpec) -> pb.Session:
    return pb.Session(
        name=names.session_name(str(session.full_name)),
        uid=session.uid,
        owner=names.user_name(session.owner),
        spec=spec,
        desired_state=DESIRED_STATE.to_proto(session.desired),
        generation=session.generation,
        state=SESSION_STATE.to_proto(session.state),
        observed_generation=session.observed_generation,
        reason=session.reason,
        message=_message(session),
        runner=names.runner_name(session.runner_name),
        epoch=session.epoch,
        snapshot=image_to_proto(session.snapshot) if session.snapshot else None,
        last_exit=last_exit_to_proto(session.last_exit) if session.last_exit else None,
        address=session.overlay_address or session.address,
        create_time=time_to_proto(session.create_time),
        update_time=time_to_proto(session.update_time),
        revision=session.revision,
        desired_by=author_to_proto(session.desired_by),
        restore=restore_to_proto(session.restore) if session.restore else None,
        source_snapshot=names.snapshot_name(session.source.name) if session.source else "",
        gpus=session.gpus,
    )


def _message(session: Session) -> str:
    """Its message; while it is moving, how far that is."""
    move = session.move
    if move is None or not move.is_open:
        return session.message
    where = f"moving to runner {move.target_name}" if move.target_name else "waiting to be moved to another runner"
    return f"{where}: {move.message}" if move.message else where


def session_from_proto(message: pb.Session) -> Session:
    """Parses a session as a client sees it: with `runner_name`, but without `runner` (the uid). Raises InvalidInput."""
    name = SessionName.parse(names.parse_session_name(message.name), names.parse_user_name(message.owner, "owner"))
    return Session(
        uid=message.uid,
        name=name.name,
        owner=name.owner,
        spec=spec_from_proto(message.spec),
        desired=DESIRED_STATE.from_proto(message.desired_state, "desired_state"),
        generation=message.generation,
        create_time=time_from_proto(message, "create_time"),
        update_time=time_from_proto(message, "update_time"),
        state=SESSION_STATE.from_proto(message.state, "state"),
        observed_generation=message.observed_generation,
        reason=message.reason,
        message=message.message,
        runner_name=names.parse_runner_name(message.runner, "runner") if message.runner else "",
        epoch=message.epoch,
        snapshot=image_from_proto(message.snapshot) if message.HasField("snapshot") else None,
        last_exit=last_exit_from_proto(message.last_exit) if message.HasField("last_exit") else None,
        address=message.address,
        restore=restore_from_proto(message.restore) if message.HasField("restore") else None,
        source=_source_from_proto(message.source_snapshot),
        revision=message.revision,
        desired_by=author_from_proto(message.desired_by),
        gpus=tuple(message.gpus),
    )


def _source_from_proto(name: str) -> SnapshotSource | None:
    return SnapshotSource("", "", "/".join(names.parse_snapshot_name(name, "source_snapshot"))) if name else None


def spec_to_proto(spec: SessionSpec) -> spec_pb.SessionSpec:
    """Converts a spec, with all defaults set explicitly."""
    message = _listed_spec_to_proto(spec)
    message.env.update(spec.env)
    message.authorized_keys.extend(spec.authorized_keys)
    message.command.extend(spec.command)
    return message


def mask_path(field: str) -> str:
    """The path of a field of a spec in the mask of an update."""
    return f"spec.{_PATHS.get(field, field)}"


def _listed_spec_to_proto(spec: SessionSpec) -> spec_pb.SessionSpec:
    return spec_pb.SessionSpec(
        image=spec.image,
        cpus=spec.cpus,
        memory_bytes=spec.memory_bytes,
        pids=spec.pids,
        run_entrypoint=spec.run_entrypoint,
        network=NETWORK.to_proto(spec.network),
        stop_grace=duration_to_proto(spec.stop_grace),
        labels=dict(spec.labels),
        shm_bytes=spec.shm_bytes,
        open_files=spec.open_files,
        disk_bytes=spec.disk_bytes,
        gpus=spec.gpus,
        gpu_ids=spec.gpu_ids,
        delete_protection=spec.delete_protection,
        restart_policy=RESTART_POLICY.to_proto(spec.restart_policy),
        max_restarts=spec.max_restarts,
        snapshot_retention=change_pb.SnapshotRetention(
            keep=spec.snapshot_keep,
            max_age=duration_to_proto(spec.snapshot_max_age) if spec.snapshot_max_age else None,
        ),
        snapshot_policy=policy_to_proto(spec.snapshot_policy),
        wake=WAKE_POLICY.to_proto(spec.wake),
        runner_filter=spec.runner_filter,
        placement=PLACEMENT.to_proto(spec.placement),
        sleep=sleep_policy_to_proto(spec.sleep),
    )


def spec_from_proto(message: spec_pb.SessionSpec) -> SessionSpec:
    """Parses a spec. Raises InvalidInput with all violations; fields are named as in the message."""
    checks = Checks()
    network, policy, spec = Network.DEFAULT, RestartPolicy.ALWAYS, SessionSpec()
    snapshot_policy, wake, sleep = SnapshotPolicy(), WakePolicy.DEFAULT, SleepPolicy()
    placement = Placement.DEFAULT
    with checks.nested():
        network = NETWORK.from_proto(message.network, "network", unspecified=Network.DEFAULT)
    with checks.nested():
        policy = RESTART_POLICY.from_proto(message.restart_policy, "restart_policy", unspecified=RestartPolicy.ALWAYS)
    with checks.nested("snapshot_policy"):
        snapshot_policy = policy_from_proto(message.snapshot_policy)
    with checks.nested():
        wake = WAKE_POLICY.from_proto(message.wake, "wake", unspecified=WakePolicy.DEFAULT)
    with checks.nested():
        placement = PLACEMENT.from_proto(message.placement, "placement", unspecified=Placement.DEFAULT)
    with checks.nested("sleep"):
        sleep = sleep_policy_from_proto(message.sleep)
    with checks.nested():
        spec = SessionSpec(
            image=message.image,
            cpus=message.cpus,
            memory_bytes=message.memory_bytes,
            pids=message.pids or DEFAULT_PIDS,
            env=dict(message.env),
            authorized_keys=tuple(message.authorized_keys),
            run_entrypoint=message.run_entrypoint,
            command=tuple(message.command),
            network=network,
            stop_grace=duration_from_proto(message.stop_grace) if message.HasField("stop_grace") else DEFAULT_GRACE,
            labels=dict(message.labels),
            shm_bytes=message.shm_bytes,
            open_files=message.open_files,
            disk_bytes=message.disk_bytes,
            gpus=message.gpus,
            gpu_ids=tuple(message.gpu_ids),
            delete_protection=message.delete_protection,
            restart_policy=policy,
            max_restarts=message.max_restarts,
            snapshot_keep=message.snapshot_retention.keep,
            snapshot_max_age=duration_from_proto(message.snapshot_retention.max_age),
            snapshot_policy=snapshot_policy,
            wake=wake,
            sleep=sleep,
            runner_filter=message.runner_filter,
            placement=placement,
        )
    checks.done()
    return spec


def last_exit_to_proto(last: LastExit) -> pb.LastExit:
    """Converts all fields."""
    return pb.LastExit(
        exit_code=last.exit_code,
        cause=last.cause,
        end_time=time_to_proto(last.end_time),
        author=author_to_proto(last.author),
    )


def last_exit_from_proto(message: pb.LastExit) -> LastExit:
    """Parses an exit. Raises InvalidInput."""
    return LastExit(
        message.exit_code,
        word(message.cause, "cause"),
        time_from_proto(message, "end_time"),
        author_from_proto(message.author),
    )


def author_to_proto(author: Author) -> change_pb.Author:
    """Converts all fields."""
    return change_pb.Author(actor=author.actor, cause=CHANGE_CAUSE.to_proto(author.cause))


def author_from_proto(message: change_pb.Author) -> Author:
    """Parses an author; a cause that a newer server may send is unspecified. Raises InvalidInput."""
    known = message.cause in change_pb.ChangeCause.values()
    cause = CHANGE_CAUSE.from_proto(message.cause, "cause") if known else ChangeCause.UNSPECIFIED
    return Author(word(message.actor, "actor"), cause)
