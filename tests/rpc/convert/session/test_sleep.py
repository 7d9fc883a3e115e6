"""Plans of sleep on the wire."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from netvps.api.v1 import session_sleep_pb2 as pb
from netvps.domain.session.session import ChangeCause
from netvps.domain.sleep.idle import Signal, SignalKind, SignalState, SleepPlan
from netvps.rpc.convert.session.sleep import plan_from_proto, plan_to_proto
from tests.rpc.convert.values import text, times

_moments = st.none() | times
_signals = st.builds(
    Signal, st.sampled_from(SignalKind), st.sampled_from(SignalState), _moments, _moments, st.floats(0, 1e6)
)
_plans = st.builds(
    SleepPlan,
    times,
    signals=st.lists(_signals, max_size=9).map(tuple),
    pause_time=_moments,
    stop_time=_moments,
    stop_cause=st.sampled_from(ChangeCause),
    reason=text,
)


@given(_plans)
def test_a_plan_survives_the_wire(plan: SleepPlan) -> None:
    assert plan_from_proto(pb.SleepPlan.FromString(plan_to_proto(plan).SerializeToString())) == plan


def test_what_a_newer_server_knows_is_left_out() -> None:
    message = plan_to_proto(SleepPlan(datetime(2026, 5, 4, tzinfo=UTC), signals=(Signal(SignalKind.SSH),)))
    message.signals.add(kind=pb.SleepSignalKind.ValueType(99), state=pb.SLEEP_SIGNAL_STATE_ACTIVE)
    assert [signal.kind for signal in plan_from_proto(message).signals] == [SignalKind.SSH]
