"""What keeps a session awake, and when it sleeps."""

from __future__ import annotations

from netvps.api.v1 import session_change_pb2 as change_pb
from netvps.api.v1 import session_sleep_pb2 as pb
from netvps.domain.session.session import ChangeCause
from netvps.domain.sleep.idle import Signal, SignalKind, SignalState, SleepPlan
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.session.sessions import CHANGE_CAUSE
from netvps.rpc.convert.times import optional_time_from_proto, time_from_proto, time_to_proto

_KINDS = frozenset(pb.SleepSignalKind.values()) - {pb.SLEEP_SIGNAL_KIND_UNSPECIFIED}
_KIND = EnumPair(SignalKind, pb.SleepSignalKind, "SLEEP_SIGNAL_KIND_")
_STATE = EnumPair(SignalState, pb.SleepSignalState, "SLEEP_SIGNAL_STATE_")


def plan_to_proto(plan: SleepPlan) -> pb.SleepPlan:
    """Converts what people see of a plan: not what is to be done now."""
    return pb.SleepPlan(
        time=time_to_proto(plan.time),
        pause_time=time_to_proto(plan.pause_time) if plan.pause_time else None,
        stop_time=time_to_proto(plan.stop_time) if plan.stop_time else None,
        stop_cause=CHANGE_CAUSE.to_proto(plan.stop_cause),
        reason=plan.reason,
        signals=map(_signal_to_proto, plan.signals),
    )


def plan_from_proto(message: pb.SleepPlan) -> SleepPlan:
    """Parses a plan; signals that a newer server may know are left out. Raises InvalidInput."""
    known = message.stop_cause in change_pb.ChangeCause.values()
    return SleepPlan(
        time_from_proto(message, "time"),
        signals=tuple(_signal_from_proto(one) for one in message.signals if one.kind in _KINDS),
        pause_time=optional_time_from_proto(message, "pause_time"),
        stop_time=optional_time_from_proto(message, "stop_time"),
        stop_cause=CHANGE_CAUSE.from_proto(message.stop_cause, "stop_cause") if known else ChangeCause.UNSPECIFIED,
        reason=message.reason,
    )


def _signal_to_proto(signal: Signal) -> pb.SleepSignal:
    return pb.SleepSignal(
        kind=_KIND.to_proto(signal.kind),
        state=_STATE.to_proto(signal.state),
        last_time=time_to_proto(signal.last) if signal.last else None,
        until_time=time_to_proto(signal.until) if signal.until else None,
        count=signal.count,
    )


def _signal_from_proto(message: pb.SleepSignal) -> Signal:
    return Signal(
        _KIND.from_proto(message.kind, "kind"),
        _STATE.from_proto(message.state, "state"),
        optional_time_from_proto(message, "last_time"),
        optional_time_from_proto(message, "until_time"),
        message.count,
    )
