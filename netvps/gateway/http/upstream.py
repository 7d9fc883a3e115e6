"""The session's side of an exchange: passes a request on, and its answer back up to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from netvps.gateway.http.body import Body, BodyError
from netvps.gateway.http.head import END, LIMIT, HeadError, parse_answer

if TYPE_CHECKING:
    from netvps.gateway.http.exchange import Exchange
    from netvps.gateway.ports import Stream

_BAD_GATEWAY: Final = 502


Keep = Callable[[asyncio.Transport], None]


class Upstream(asyncio.Protocol):
    """The protocol of a connection into a session."""

    def __init__(self, client: Exchange, stream: Stream, keep: Keep | None, *, repeatable: bool) -> None:
        """`keep` takes the connection once the answer is complete, if another request may follow on it.

        A request that is `repeatable` is not failed but repeated if the connection ends before any byte of an answer.
        """
        self.full = False
        """Whether the app takes no data now."""
        self._client = client
        self._stream = stream
        self._keep = keep
        self._repeatable = repeatable
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._body: Body | None = None
        """Of the answer, once it began."""
        self._raw = False
        self._over = False

    def write(self, data: bytes) -> None:
        """Sends bytes of the request."""
        if self._transport is not None:
            self._transport.write(data)

    def write_eof(self) -> None:
        """Ends the client's direction."""
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def hold(self, held: bool) -> None:
        """The client takes no data, or takes it again."""
        if self._transport is None or self._transport.is_closing():
            return
        if held:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    def close(self) -> None:
        """Ends it after what was written."""
        self._over = True
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Ends it immediately, unless it is another request's now."""
        self._over = True
        if self._transport is not None:
            self._stream.abort()
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Stores the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Passes the answer on, up to its end."""
        if self._over:
            return
        self._repeatable = False
        if self._raw:
            self._client.pass_on(data)
        elif self._body is not None:
            self._pass_body(self._body, data)
        else:
            self._take_head(data)

    def eof_received(self) -> bool:
        """The app has ended its direction."""
        if self._over:
            return False
        if self._raw:
            self._client.end_answer()
            return True
        self._end(None)
        return False

    def pause_writing(self) -> None:
        """The app takes no data: the client waits."""
        self.full = True
        self._client.hold(True)

    def resume_writing(self) -> None:
        """The app takes data again."""
        self.full = False
        self._client.hold(False)

    def connection_lost(self, exc: Exception | None) -> None:
        """The app is gone."""
        if not self._over:
            self._end(exc)

    def _end(self, exc: Exception | None) -> None:
        self._over = True
        if self._body is not None or self._raw:
            until_closed = self._body is None or self._body.ends_with_connection
            if exc is None and until_closed:
                self._client.finish()
            else:
                self._client.abort()  # the client has to see that the answer is not complete
        elif self._repeatable:
            self.abort()
            self._client.repeat()
        else:
            why = "the app closed the connection without an answer"
            self._client.fail(_BAD_GATEWAY, "no answer", why)

    def _take_head(self, data: bytes) -> None:
        self._buffer += data
        while self._body is None and not self._raw and (end := self._buffer.find(END)) >= 0:
            head = bytes(self._buffer[: end + len(END)])
            del self._buffer[: end + len(END)]
            if not self._pass_head(head):
                return
        if self._body is None and not self._raw:
            if len(self._buffer) > LIMIT:
                self._bad(f"the head of the app's answer has more than {LIMIT} bytes")
            return
        rest, self._buffer = bytes(self._buffer), bytearray()
        if self._raw and rest:
            self._client.pass_on(rest)
        elif self._body is not None:
            self._pass_body(self._body, rest)

    def _pass_head(self, head: bytes) -> bool:
        assert self._client.head is not None  # noqa: S101 — its request was sent
        try:
            answer = parse_answer(head, self._client.head)
        except HeadError as error:
            self._bad(f"the app's answer is no HTTP: {error.why}")
            return False
        self._client.pass_answer(answer)
        if answer.switches:
            self._raw = True
        elif not answer.is_interim:
            self._body = Body(answer.framing)
            if not answer.keeps_connection:
                self._keep = None
        return True

    def _pass_body(self, body: Body, data: bytes) -> None:
        try:
            count = body.take(data)
        except BodyError:
            self._client.abort()
            return
        if count:
            self._client.pass_on(data[:count] if count < len(data) else data)
        if body.done:
            self._over = True
            if count == len(data):
                self._release()
            self._client.finish()

    def _release(self) -> None:
        """Gives the connection away, if nothing of this request or its answer is left on it."""
        if self._keep is None or self._transport is None or self._transport.get_write_buffer_size():
            return
        transport, self._transport = self._transport, None
        self._keep(transport)

    def _bad(self, why: str) -> None:
        self._over = True
        self._client.fail(_BAD_GATEWAY, "bad answer", why)
        self._stream.abort()
