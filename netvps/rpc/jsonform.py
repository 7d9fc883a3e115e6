"""Domain values as the JSON of their protos, for `-o json`: the same names and forms that any gRPC client sees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict

from netvps.domain.access import SshKey, User
from netvps.domain.event import SessionEvent
from netvps.domain.runner import RunnerView
from netvps.domain.server import ServerInfo
from netvps.domain.session import Session
from netvps.rpc.convert.runners import runner_to_proto
from netvps.rpc.convert.server_info import server_info_to_proto
from netvps.rpc.convert.session_events import event_to_proto
from netvps.rpc.convert.sessions import session_to_proto
from netvps.rpc.convert.ssh_keys import ssh_key_to_proto
from netvps.rpc.convert.users import user_to_proto

if TYPE_CHECKING:
    from google.protobuf.message import Message


Printable = Session | SessionEvent | User | SshKey | ServerInfo | RunnerView


def to_json(value: Printable) -> dict[str, Any]:
    """The proto's JSON form (https://protobuf.dev/programming-guides/json/) of a domain value, as plain values."""
    found: dict[str, Any] = MessageToDict(_message(value))
    return found


def _message(value: Printable) -> Message:
    match value:
        case Session():
            return session_to_proto(value)
        case SessionEvent():
            return event_to_proto(value)
        case User():
            return user_to_proto(value)
        case SshKey():
            return ssh_key_to_proto(value)
        case ServerInfo():
            return server_info_to_proto(value)
        case RunnerView():
            return runner_to_proto(value)
