"""Passes calls of runners on to the server that asked for them.

A server asks for logs, files or parts of a runner of another server with PushToRunner. The runner answers with a call
to the server that it is connected to, which has the stream id of the request. That server passes the call on, message
by message, and the one that asked serves it like a call of a runner of its own.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import grpc

from netvps.domain.access.identity import RunnerIdentity, ServerIdentity
from netvps.domain.access.permissions import short_name
from netvps.rpc.mesh.addressee import of_runner, require_addressed_to, runner_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.access.accounts import Caller
    from netvps.domain.access.identity import Certified
    from netvps.rpc.mesh.mesh import Mesh, Peer
    from netvps.rpc.server.context import Context

PASSED_ON: Final = frozenset({"CopyService/SendCopy", "RunnerLinkService/CarryFiles", "RunnerLinkService/SendLogs"})
"""The methods by which runners answer requests."""
_ANSWERED_WITHIN: Final = 30.0
"""Seconds in which a runner has to answer; longer than any caller waits."""
_MAX_EXPECTED: Final = 4096


class Passing:
    """Knows which calls of runners are for another server."""

    def __init__(self, mesh: Mesh) -> None:
        self._mesh = mesh
        self._expected: dict[str, tuple[str, str, float]] = {}
        """Runner, server and end, by stream id; the oldest first."""

    def expect(self, runner_uid: str, stream_id: str, server_uid: str) -> None:
        """Passes the call with this stream id on to a server. Raises Unavailable if that is not known."""
        self._mesh.peer(server_uid)
        now = time.monotonic()
        self._expected[stream_id] = runner_uid, server_uid, now + _ANSWERED_WITHIN
        while (oldest := next(iter(self._expected))) != stream_id:
            if self._expected[oldest][2] > now and len(self._expected) <= _MAX_EXPECTED:
                break
            del self._expected[oldest]

    def identity(self, who: Caller | Certified, method: str, context: Context) -> Caller | Certified:
        """The runner whose call another server passes on to this one; else the caller itself.

        Raises WrongState if it is meant for another server, Unauthenticated if it names no runner.
        """
        if not isinstance(who, ServerIdentity) or short_name(method) not in PASSED_ON:
            return who
        require_addressed_to(self._mesh.own.uid, context)
        return runner_of(context)

    def destination(self, who: Caller | Certified | None, method: str, first: Any) -> Destination | None:
        """Where a call has to be passed on to, known by its first message; once for each stream id."""
        if not isinstance(who, RunnerIdentity) or short_name(method) not in PASSED_ON:
            return None
        runner_uid, server_uid, until = self._expected.get(first.stream_id, ("", "", 0.0))
        if runner_uid != who.uid:
            return None
        del self._expected[first.stream_id]
        return Destination(self._mesh.peer(server_uid), who) if until > time.monotonic() else None


@dataclass(frozen=True, slots=True)
class Destination:
    """The server that a call of a runner is for."""

    peer: Peer
    who: RunnerIdentity

    async def carry(self, method: str, messages: AsyncIterator[Any], context: Context) -> None:
        """Passes a call on, both ways, until either side ends it. Raises the errors of the other server."""
        peer, metadata = self.peer, (*self.peer.metadata, of_runner(self.who.uid))
        call: Any = peer.channel.stream_stream(method, _encode, None)(messages, metadata=metadata)
        try:
            async for answer in call:  # bytes
                await context.write(answer)
        except grpc.RpcError as failed:
            raise peer.error(failed) from None
        finally:
            call.cancel()


def _encode(message: Any) -> bytes:
    encoded: bytes = message.SerializeToString()
    return encoded
