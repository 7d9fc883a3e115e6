"""One request and its answer, on a client's connection and on one into a session.

client ──head──► decide ──► app          the head is parsed, decided about, and written again
       ──body──► counted ──►             bytes as they come, up to the end that the head announced
       ◄── head, body ──                 and the connections end; unless the app switched protocols

The one into the session may be kept for another request (kept.py). A client's connection carries one request, so that
no byte after its end reaches any app. Either side waits while the other takes no data.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol, cast

from netvps.gateway.http.answers import explained
from netvps.gateway.http.body import Body, BodyError
from netvps.gateway.http.head import END, LIMIT, HeadError, answer_bytes, parse_request
from netvps.gateway.http.upstream import Upstream

if TYPE_CHECKING:
    from netvps.gateway.http.answers import Answer
    from netvps.gateway.http.head import AnswerHead, RequestHead
    from netvps.gateway.http.reviews import Admission
    from netvps.gateway.http.upstream import Keep
    from netvps.gateway.ports import Stream

HEAD_SECONDS: Final = 10.0
"""For a head to come, from the connection on, however slowly its bytes come."""
ANSWER_SECONDS: Final = 300.0
"""For an app to begin its answer, after it has the whole request."""
STALLED: Final = 60.0
"""For the next bytes of a body that is not complete, and for the last ones of an answer to be taken."""
SMALL_BODY: Final = 8 * 1024
"""Maximum body of a request to the gateway itself."""
_TIMEOUT: Final = 504
_RESET: Final = struct.pack("ii", 1, 0)  # socket(7), SO_LINGER: on, for no time


class Server(Protocol):
    """What owns exchanges."""

    def arrived(self, exchange: Exchange) -> str | None:
        """There is a new connection; returns why it is not served, if it is not."""

    def started(self, exchange: Exchange, head: RequestHead) -> None:
        """A head is complete: decide, then call `answer` or `connect`."""

    def ended(self, exchange: Exchange) -> None:
        """The connection is closed. Called once, for each connection."""


class Exchange(asyncio.Protocol):
    """The client's side."""

    def __init__(self, server: Server, scheme: str) -> None:
        self.scheme = scheme
        """"http" or "https", as the client speaks to this listener."""
        self.head: RequestHead | None = None
        self.status = 0
        """Of the answer that was sent; 0 if none was."""
        self.received = self.sent = 0
        """Bytes of the client's body, and of the answer."""
        self.admission: Admission | None = None
        """Why it was let through to an app; None while it is not."""
        self.repeats = False
        """Whether the request was sent before, in vain."""
        self.transport: asyncio.Transport | None = None
        self.peer = ""
        self._server = server
        self._buffer = bytearray()
        self._body: Body | None = None
        self._upstream: Upstream | None = None
        self._small: asyncio.Future[bytes] | None = None
        self._asked = False
        """Whether the app has the whole request."""
        self._raw = False
        self._timer: asyncio.TimerHandle | None = None
        self._progress = (0, 0)
        """Bytes of the body, and bytes that the client has not taken, when the timer was last set."""
        self._over = False

    # From the server

    def answer(self, answer: Answer) -> None:
        """Answers in the place of an app, and ends the connection."""
        if self._over or self.status or self.transport is None:
            return
        self.status = answer.status
        data = answer.encode(without_body=self.head is not None and self.head.method == "HEAD")
        self.sent += len(data)
        self.transport.write(data)
        self.finish()

    async def small_body(self) -> bytes:
        """The body of a request to the gateway itself; b"" if it has none, or is too large."""
        if self.head is None or not 0 < (self.head.framing.length or 0) <= SMALL_BODY or self.transport is None:
            return b""
        self._small = asyncio.get_running_loop().create_future()
        data, self._buffer = bytes(self._buffer), bytearray()
        self._take_body(data)
        self.transport.resume_reading()
        async with asyncio.timeout(HEAD_SECONDS):
            return await self._small

    def connect(self, stream: Stream, head: bytes, keep: Keep | None = None, *, repeatable: bool = False) -> None:
        """Sends the request into a session, and what answers there back; for the rest see Upstream. Raises OSError."""
        if self._over or self.transport is None:
            stream.abort()
            return
        self._upstream = Upstream(self, stream, keep, repeatable=repeatable)
        stream.start(self._upstream)
        self._upstream.write(head)
        data, self._buffer = bytes(self._buffer), bytearray()
        self._set_timer(STALLED)
        self._take_body(data)
        if not self._upstream.full:
            self.transport.resume_reading()

    # From the upstream

    def pass_answer(self, answer: AnswerHead) -> None:
        """Passes on the head of an answer."""
        if not answer.is_interim:
            self.status = answer.status
            self._set_timer(None)
        self._raw = answer.switches
        self.pass_on(answer_bytes(answer))
        if self._raw and self._buffer and self._upstream is not None:  # it came before the app switched
            data, self._buffer = bytes(self._buffer), bytearray()
            self._upstream.write(data)
        if self._raw and self.transport is not None:
            self.transport.resume_reading()

    def pass_on(self, data: bytes) -> None:
        """Passes on bytes of an answer."""
        if self.transport is not None:
            self.sent += len(data)
            self.transport.write(data)

    def hold(self, held: bool) -> None:
        """The app takes no data, or takes it again: reads the client's accordingly."""
        if self.transport is None or self.transport.is_closing() or self._buffer:
            return
        if held:
            self.transport.pause_reading()
        else:
            self.transport.resume_reading()

    def end_answer(self) -> None:
        """An app that switched protocols has ended its direction."""
        if self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()
            self._set_timer(STALLED)
        else:
            self.finish()

    def repeat(self) -> None:
        """The connection had ended before the request: it is sent on another one."""
        if self._over or self.head is None:
            return
        self._upstream, self._asked, self.repeats = None, False, True
        self._set_timer(None)
        self._server.started(self, self.head)

    def fail(self, status: int, title: str, why: str) -> None:
        """The app gave no usable answer: says so, or breaks the connection if an answer has begun."""
        if self.status:
            self.abort()
        else:
            self.answer(explained(self.head, status, title, why))

    def finish(self) -> None:
        """Ends the connections: the answer is complete."""
        if self._over or self.transport is None:
            return
        self._over = True
        self._set_timer(STALLED)
        self.transport.resume_reading()  # what still comes is dropped: unread bytes would break the answer off
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
        if self._upstream is not None:
            self._upstream.close()

    def abort(self) -> None:
        """Breaks both connections: the client sees a reset, not the end of an answer."""
        self._over = True
        if self.transport is not None:
            if (sock := self.transport.get_extra_info("socket")) is not None:
                with suppress(OSError):
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            self.transport.abort()
        if self._upstream is not None:
            self._upstream.abort()

    # Callbacks of the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Waits for a head."""
        self.transport = cast("asyncio.Transport", transport)  # not isinstance: uvloop's transports inherit nothing
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        self._set_timer(HEAD_SECONDS)
        if reason := self._server.arrived(self):
            self.answer(explained(None, 503, "busy", f"{reason}: try again later"))

    def data_received(self, data: bytes) -> None:
        """Collects the head, then passes the body on."""
        if self._over:
            return
        if self._raw and self._upstream is not None:
            self.received += len(data)
            self._upstream.write(data)
        elif self.head is not None:
            self._take_body(data)
        else:
            self._take_head(data)

    def eof_received(self) -> bool:
        """The client sends nothing more. A request that was cut off is dropped; an answer may still end."""
        if self._over or self.head is None:
            return False
        if self._raw and self._upstream is not None:
            self._upstream.write_eof()
        elif self._body is None or not self._body.done:
            self.abort()
            return False
        self._set_timer(STALLED)
        return self.transport is not None and self.transport.can_write_eof()

    def pause_writing(self) -> None:
        """The client takes no data: the app waits."""
        if self._upstream is not None:
            self._upstream.hold(True)

    def resume_writing(self) -> None:
        """The client takes data again."""
        if self._upstream is not None:
            self._upstream.hold(False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone, and so is its request."""
        self._over = True
        self._set_timer(None)
        if self._small is not None and not self._small.done():
            self._small.set_result(b"")
        if self._upstream is not None:
            self._upstream.abort()
        self._server.ended(self)

    # Internals

    def _take_head(self, data: bytes) -> None:
        begin = max(0, len(self._buffer) - len(END) + 1)
        self._buffer += data
        end = self._buffer.find(END, begin)
        if end < 0 and len(self._buffer) <= LIMIT:
            if b"\n\n" in self._buffer:
                self._refuse(HeadError(400, "the lines of a request end with CR LF"))
            return None
        if end < 0 or end + len(END) > LIMIT:
            return self._refuse(HeadError(431, f"the head of a request has at most {LIMIT} bytes"))
        head = bytes(self._buffer[: end + len(END)])
        del self._buffer[: end + len(END)]
        try:
            self.head = parse_request(head)
        except HeadError as error:
            return self._refuse(error)
        self._body = Body(self.head.framing)
        self._set_timer(None)
        if self.transport is not None:
            self.transport.pause_reading()  # until it is decided where the body goes
        self._server.started(self, self.head)
        return None

    def _refuse(self, error: HeadError) -> None:
        self.answer(explained(None, error.status, "bad request", error.why))

    def _take_body(self, data: bytes) -> None:
        """Passes on what belongs to the body. The rest belongs to nothing, unless the app switches protocols."""
        body = self._body
        if body is None or (self._upstream is None and self._small is None):
            self._buffer += data
            return
        try:
            count = body.take(data)
        except BodyError as error:
            self.fail(400, "bad request", str(error))
            return
        self.received += count
        if self._upstream is None:
            self._keep_small(data[:count], complete=body.done)
            return
        if count:
            self._upstream.write(data[:count] if count < len(data) else data)
        if count < len(data):
            self._hold_excess(data[count:])
        if body.done and not self.status and not self._asked:
            self._asked = True
            self._set_timer(ANSWER_SECONDS)

    def _keep_small(self, data: bytes, *, complete: bool) -> None:
        self._buffer += data
        if complete and self._small is not None and not self._small.done():
            self._small.set_result(bytes(self._buffer))

    def _hold_excess(self, data: bytes) -> None:
        """Keeps what came after the request for the case that the app switches protocols; reads no more until then."""
        if self.head is not None and self.head.upgrade:
            self._buffer += data
        if self.transport is not None:
            self.transport.pause_reading()

    def _set_timer(self, seconds: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if seconds is not None:
            self._progress = self._now()
            self._timer = asyncio.get_running_loop().call_later(seconds, self._too_late)

    def _now(self) -> tuple[int, int]:
        return self.received, self.transport.get_write_buffer_size() if self.transport is not None else 0

    def _too_late(self) -> None:
        self._timer = None
        waits_for_app = self._upstream is not None and not self._over and not self.status
        if waits_for_app and self._asked:
            self.fail(_TIMEOUT, "no answer", f"the app did not begin an answer within {ANSWER_SECONDS:.0f} s")
        elif self._progress != self._now() or (waits_for_app and self._upstream is not None and self._upstream.full):
            self._set_timer(STALLED)
        else:
            self.abort()
