"""Messages between an agent and the gateway. Frames are the hot path: no validation except of their kind, no copies."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

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
    DialTarget,
    Drain,
    Eof,
    Frame,
    FromAgent,
    PortTarget,
    Reset,
    ResumableTarget,
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
from netvps.rpc.convert.texts import sentence, word
from netvps.rpc.convert.times import duration_from_proto, optional_time_from_proto

if TYPE_CHECKING:
    from datetime import datetime

_HOST_KEY_MAX: Final = 16 * 1024
_REASON_MAX: Final = 500


def hello_from_proto(message: pb.ControlRequest) -> AgentHello:
    """Parses the hello. Raises InvalidInput for any other message."""
    if message.WhichOneof("message") != "hello":
        raise InvalidInput.of("hello", "the first message must be hello")
    hello = message.hello
    return AgentHello(
        word(hello.session_uid, "hello.session_uid"),
        hello.epoch,
        word(hello.version, "hello.version"),
        word(hello.host_key, "hello.host_key", _HOST_KEY_MAX),
        hello.direct,
        hello.resumable,
    )


def from_agent_from_proto(message: pb.ControlRequest, now: datetime) -> FromAgent:
    """Parses a message of an agent after the first, received now. Raises InvalidInput."""
    match message.WhichOneof("message"):
        case "dial_failure":
            failure = message.dial_failure
            return DialFailure(word(failure.dial_id, "dial_failure.dial_id"), sentence(failure.reason, _REASON_MAX))
        case "activity":
            return _activity_from_proto(message.activity, now)
        case "config_applied":
            return ConfigApplied(message.config_applied)
        case "self_service":
            return _self_service_from_proto(message.self_service)
    raise InvalidInput.of("message", "only dial_failure, activity, config_applied and self_service may follow hello")


def _activity_from_proto(seen: pb.Activity, now: datetime) -> Activity:
    """Parses it, with times of this machine's clock, none of them in the future."""
    ahead = (optional_time_from_proto(seen, "time") or now) - now

    def own(field: str) -> datetime | None:
        time = optional_time_from_proto(seen, field)
        try:
            return min(time - ahead, now) if time else None
        except OverflowError:
            raise InvalidInput.of(f"activity.{field}", f"{time} is no time that its clock may have") from None

    cpus = seen.cpus if seen.HasField("cpus") else None
    if cpus is not None and not (math.isfinite(cpus) and cpus >= 0):
        raise InvalidInput.of("activity.cpus", f"{cpus} is not a number of CPUs: it must be 0 or more")
    return Activity(
        seen.channels,
        seen.terminals,
        own("last_byte_time"),
        seen.forwards,
        own("last_input_time"),
        own("last_forward_time"),
        cpus,
        own("busy_time"),
    )


def _self_service_from_proto(message: pb.SelfServiceRequest) -> SelfService:
    kind = message.WhichOneof("request")
    if kind is None:
        raise InvalidInput.of("self_service", "nothing is asked for: set keep, sleep, snapshot or status")
    seconds = duration_from_proto(message.keep) if kind == "keep" else 0.0
    return SelfService(word(message.id, "self_service.id"), SelfServiceKind(kind.upper()), seconds)


def to_agent_to_proto(message: ToAgent) -> pb.ControlResponse:
    """Any message of the gateway."""
    match message:
        case AgentConfig():
            return pb.ControlResponse(
                config=pb.AgentConfig(
                    generation=message.generation,
                    authorized_keys=message.authorized_keys,
                    user_ca_keys=message.user_ca_keys,
                    host_certificate=message.host_certificate,
                    user_principals=message.user_principals,
                )
            )
        case DialRequest(dial_id, target, origin, direct):
            return pb.ControlResponse(
                dial=pb.DialRequest(dial_id=dial_id, target=target_to_proto(target), origin=origin, direct=direct)
            )
        case Drain():
            return pb.ControlResponse(drain=True)
        case SelfServiceAnswer(id, text, failed):
            return pb.ControlResponse(self_service=pb.SelfServiceResponse(id=id, text=text, failed=failed))
        case SleepNotice(greeting, warning, cpu_floor):
            notice = pb.SleepNotice(greeting=greeting, warning=warning, cpu_floor=cpu_floor)
            return pb.ControlResponse(notice=notice)


def open_from_proto(message: pb.DialBackRequest) -> str:
    """Parses the first message of a connection into its dial id. Raises InvalidInput for any other message."""
    if message.WhichOneof("frame") != "open" or not message.open:
        raise InvalidInput.of("open", "the first message must be open, with the dial_id of the request")
    return word(message.open, "open")


def frame_from_proto(message: pb.DialBackRequest | pb.DialBackResponse) -> Frame:
    """Parses a frame after the first. Raises InvalidInput."""
    match message.WhichOneof("frame"):
        case "data":
            data = message.data  # a copy at each access
            if len(data) > MAX_DATA:
                raise InvalidInput.of("data", f"{len(data)} bytes in one message are more than {MAX_DATA}")
            return Data(data)
        case "credit":
            return Credit(message.credit)
        case "eof":
            return Eof()
        case "reset":
            return Reset(sentence(message.reset, _REASON_MAX))
    raise InvalidInput.of("frame", "only data, credit, eof and reset may follow open")


def frame_to_proto(frame: Frame) -> pb.DialBackResponse:
    """Any frame."""
    match frame:
        case Data(payload):
            return pb.DialBackResponse(data=payload)
        case Credit(size):
            return pb.DialBackResponse(credit=size)
        case Eof():
            return pb.DialBackResponse(eof=True)
        case Reset(reason):
            return pb.DialBackResponse(reset=reason)


def target_to_proto(target: DialTarget) -> pb.DialTarget:
    """Where a connection into a session leads."""
    match target:
        case SshTarget():
            return pb.DialTarget(ssh=True)
        case TcpTarget(address):
            return pb.DialTarget(tcp=address)
        case UnixTarget(path):
            return pb.DialTarget(unix=path)
        case ResumableTarget(user, attachment):
            return pb.DialTarget(resumable=pb.ResumableSsh(user=user, attachment=attachment))
        case PortTarget(port):
            return pb.DialTarget(tcp=f"localhost:{port}")  # by name: an app may listen on ::1 alone
