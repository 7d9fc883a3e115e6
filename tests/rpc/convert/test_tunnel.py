from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from netvps.api.v1 import tunnel_pb2 as pb
from netvps.domain.tunnel import (
    MAX_DATA,
    Activity,
    AgentConfig,
    AgentHello,
    ConfigApplied,
    Credit,
    Data,
    DialFailure,
    DialRequest,
    Drain,
    Eof,
    Frame,
    FromAgent,
    Reset,
    SelfService,
    SelfServiceAnswer,
    SelfServiceKind,
    SleepNotice,
    SshTarget,
    TcpTarget,
    ToAgent,
    UnixTarget,
)
from netvps.errors import InvalidInput
from netvps.rpc.convert.times import time_to_proto
from netvps.rpc.convert.tunnel import (
    frame_from_proto,
    frame_to_proto,
    from_agent_from_proto,
    hello_from_proto,
    open_from_proto,
    to_agent_to_proto,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("frame", [Data(b"x" * MAX_DATA), Data(b""), Credit(1 << 40), Eof(), Reset("gone")])
def test_frames_come_back_as_they_were(frame: Frame) -> None:
    wire = frame_to_proto(frame).SerializeToString()
    assert frame_from_proto(pb.DialBackRequest.FromString(wire)) == frame  # the numbers of both directions are the same


@pytest.mark.parametrize(
    ("message", "read"),
    [
        (pb.ControlRequest(dial_failure=pb.DialFailure(dial_id="d", reason="no")), DialFailure("d", "no")),
        (pb.ControlRequest(config_applied=3), ConfigApplied(3)),
        (pb.ControlRequest(activity=pb.Activity(channels=2, terminals=1)), Activity(2, 1, None)),
        (
            pb.ControlRequest(activity=pb.Activity(channels=2, last_byte_time=time_to_proto(NOON))),
            Activity(2, 0, NOON),
        ),
        (
            # Its clock is an hour ahead; and nothing is in the future.
            pb.ControlRequest(
                activity=pb.Activity(
                    forwards=1,
                    last_byte_time=time_to_proto(NOON + timedelta(hours=1)),
                    last_input_time=time_to_proto(NOON),
                    last_forward_time=time_to_proto(NOON + timedelta(hours=5)),
                    busy_time=time_to_proto(NOON),
                    cpus=0.5,
                    time=time_to_proto(NOON + timedelta(hours=1)),
                )
            ),
            Activity(0, 0, NOON, 1, NOON - timedelta(hours=1), NOON, 0.5, NOON - timedelta(hours=1)),
        ),
        (
            pb.ControlRequest(self_service=pb.SelfServiceRequest(id="7", keep=Duration(seconds=90))),
            SelfService("7", SelfServiceKind.KEEP, 90.0),
        ),
        (
            pb.ControlRequest(self_service=pb.SelfServiceRequest(id="8", snapshot=True)),
            SelfService("8", SelfServiceKind.SNAPSHOT),
        ),
    ],
)
def test_what_an_agent_says(message: pb.ControlRequest, read: FromAgent) -> None:
    assert from_agent_from_proto(message, NOON) == read


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        (
            AgentConfig(1, ("k",), ("ca",), "cert"),
            pb.ControlResponse(
                config=pb.AgentConfig(generation=1, authorized_keys=["k"], user_ca_keys=["ca"], host_certificate="cert")
            ),
        ),
        (
            DialRequest("d", SshTarget(), "o"),
            pb.ControlResponse(dial=pb.DialRequest(dial_id="d", target=pb.DialTarget(ssh=True), origin="o")),
        ),
        (
            DialRequest("d", TcpTarget("h:1"), "o"),
            pb.ControlResponse(dial=pb.DialRequest(dial_id="d", target=pb.DialTarget(tcp="h:1"), origin="o")),
        ),
        (
            DialRequest("d", UnixTarget("/s"), "o"),
            pb.ControlResponse(dial=pb.DialRequest(dial_id="d", target=pb.DialTarget(unix="/s"), origin="o")),
        ),
        (Drain(), pb.ControlResponse(drain=True)),
        (
            SelfServiceAnswer("7", "no", failed=True),
            pb.ControlResponse(self_service=pb.SelfServiceResponse(id="7", text="no", failed=True)),
        ),
        (
            SleepNotice("hello", "soon", 0.1),
            pb.ControlResponse(notice=pb.SleepNotice(greeting="hello", warning="soon", cpu_floor=0.1)),
        ),
    ],
)
def test_what_an_agent_hears(message: ToAgent, sent: pb.ControlResponse) -> None:
    assert to_agent_to_proto(message) == sent


def test_hello_and_open_come_first_and_once() -> None:
    hello = pb.AgentHello(session_uid="u", epoch=2, version="v", host_key="k")
    assert hello_from_proto(pb.ControlRequest(hello=hello)) == AgentHello("u", 2, "v", "k")
    assert open_from_proto(pb.DialBackRequest(open="d")) == "d"
    for bad in (pb.ControlRequest(), pb.ControlRequest(config_applied=1)):
        with pytest.raises(InvalidInput, match="hello"):
            hello_from_proto(bad)
    for wrong in (pb.DialBackRequest(), pb.DialBackRequest(open=""), pb.DialBackRequest(data=b"x")):
        with pytest.raises(InvalidInput, match="open"):
            open_from_proto(wrong)
    with pytest.raises(InvalidInput):
        from_agent_from_proto(pb.ControlRequest(hello=hello), NOON)
    with pytest.raises(InvalidInput):
        frame_from_proto(pb.DialBackRequest(open="d"))


@pytest.mark.parametrize(
    "message",
    [
        pb.ControlRequest(hello=pb.AgentHello(session_uid="x" * 256)),
        pb.ControlRequest(hello=pb.AgentHello(version="1\n2")),
        pb.ControlRequest(hello=pb.AgentHello(host_key="x" * 20_000)),
    ],
)
def test_a_hello_is_short(message: pb.ControlRequest) -> None:
    with pytest.raises(InvalidInput, match=r"hello\.\w+: .* is not up to"):
        hello_from_proto(message)


@pytest.mark.parametrize(
    "message",
    [
        pb.ControlRequest(self_service=pb.SelfServiceRequest(id="7")),
        pb.ControlRequest(self_service=pb.SelfServiceRequest(id="x" * 256, sleep=True)),
        pb.ControlRequest(activity=pb.Activity(cpus=float("nan"))),
        pb.ControlRequest(activity=pb.Activity(cpus=-1)),
        pb.ControlRequest(activity=pb.Activity(time=Timestamp(seconds=1 << 60))),
        pb.ControlRequest(
            activity=pb.Activity(time=Timestamp(seconds=-62_135_596_800), busy_time=Timestamp(seconds=253_402_300_799))
        ),
    ],
)
def test_what_no_agent_says_is_refused(message: pb.ControlRequest) -> None:
    with pytest.raises(InvalidInput):
        from_agent_from_proto(message, NOON)


def test_what_an_agent_gives_as_a_reason_is_cut_and_steers_no_terminal() -> None:
    reason = "no\x1b[2J" + "x" * 300_000
    failure = from_agent_from_proto(pb.ControlRequest(dial_failure=pb.DialFailure(dial_id="d", reason=reason)), NOON)
    assert isinstance(failure, DialFailure)
    reset = frame_from_proto(pb.DialBackRequest(reset=reason))
    assert isinstance(reset, Reset)
    for text in (failure.reason, reset.reason):
        assert text.startswith(r"no\x1b[2Jxxx")
        assert len(text) < 600


@pytest.mark.parametrize(
    "message",
    [pb.DialBackRequest(data=b"x" * (MAX_DATA + 1)), pb.DialBackRequest(open="x" * 300)],
    ids=["data", "open"],
)
def test_frames_have_a_limit(message: pb.DialBackRequest) -> None:
    with pytest.raises(InvalidInput):
        (open_from_proto if message.open else frame_from_proto)(message)
