"""Runs around every call: authentication, permission of the method, log context, and conversion of errors."""

from __future__ import annotations

import asyncio
import inspect
import secrets
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

import grpc
import structlog
from google.protobuf.message import DecodeError

from netvps.domain.access.accounts import Caller
from netvps.domain.access.permissions import OPEN, require_permitted, short_name
from netvps.errors import InternalError, InvalidInput, NetvpsError, TimedOut, Unauthenticated, Unavailable
from netvps.rpc.server import identity
from netvps.rpc.server.authenticators import lease_of
from netvps.rpc.server.call_audit import describe
from netvps.rpc.status import DETAILS_KEY, to_status
from netvps.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from netvps.domain.access.identity import Certified
    from netvps.rpc.mesh.passing import Passing
    from netvps.rpc.server.authenticators import Authenticator
    from netvps.rpc.server.call_audit import CallAudit
    from netvps.rpc.server.context import Context
    from netvps.rpc.server.open_calls import OpenCalls
    from netvps.services.auditing import AuditedCall

    Handler = grpc.RpcMethodHandler[Any, Any]
    Details = grpc.HandlerCallDetails

log = structlog.get_logger()

FIRST_MESSAGE_TIMEOUT = 10.0
"""Seconds from the start of a call until its first message must arrive."""
REVIEW_SECONDS: Final = 30.0
"""A user's open stream ends within this many seconds after the API key, or the user, was removed or has expired."""
_SYSTEM: Final = ("/grpc.health.v1.Health/", "/grpc.reflection.")
"""Methods of gRPC itself, which need no credential and return public information."""


class Guard(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs only
    """Authenticates each call, checks its permission, counts it, binds its log context, and converts its errors."""

    def __init__(
        self, authenticate: Authenticator, calls: OpenCalls, audit: CallAudit, passing: Passing | None = None
    ) -> None:
        """`passing` passes calls of runners on to other servers."""
        self._authenticate = authenticate
        self._calls = calls
        self._audit = audit
        self._passing = passing

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable[Handler]], handler_call_details: Details
    ) -> Handler:
        """Wraps the handler of a method. gRPC answers calls of unknown methods itself."""
        handler = await continuation(handler_call_details)
        unknown = handler is None
        return handler if unknown else self._wrapped(handler, handler_call_details.method)

    def _wrapped(self, handler: Handler, method: str) -> Handler:
        # Every method is served as a stream, which looks the same to the caller. gRPC would read the request of a unary
        # method before the guard can authenticate and count the call, or apply a timeout.
        return grpc.stream_stream_rpc_method_handler(
            self._serve(handler, method),
            _or_refused(handler.request_deserializer),
            _unless_encoded(handler.response_serializer),
        )

    def _serve(self, handler: Handler, method: str) -> Any:
        behaviour: Any = handler.stream_stream or handler.unary_stream or handler.stream_unary or handler.unary_unary

        # Not an async generator itself: gRPC leaves a generator that is cancelled during a write to the garbage
        # collector, so resources of the servicer would be released at an unknown time. This coroutine closes it when
        # the call ends.
        async def call(requests: AsyncIterator[Any], context: Context) -> None:
            async with self._around(context, method) as (who, audited), AsyncExitStack() as guards:
                with self._calls.unopened(who):
                    request = await _first(context)
                if audited is not None:
                    describe(audited, request)
                if self._passing is not None and (onward := self._passing.destination(who, method, request)):
                    await onward.carry(method, _Messages(request, requests), context)
                    return
                if handler.request_streaming:
                    request = _Messages(request, requests)
                if handler.response_streaming:
                    await guards.enter_async_context(self._reviewed(context, who))
                if inspect.isasyncgenfunction(behaviour):
                    async with aclosing(behaviour(request, context)) as responses:
                        async for response in responses:
                            await context.write(response)
                elif handler.response_streaming:
                    await behaviour(request, context)
                else:
                    await context.write(await behaviour(request, context))

        return call

    @asynccontextmanager
    async def _around(
        self, context: Context, method: str
    ) -> AsyncIterator[tuple[Caller | Certified | None, AuditedCall | None]]:
        request_id = secrets.token_hex(6)
        structlog.contextvars.bind_contextvars(method=method, rpc=request_id)
        try:
            who = await self._identify(context, method)
            counted = self._calls.of_stranger(context.peer()) if who is None else self._calls.of(who, method)
            with counted, self._audit.of(who, method, context.peer()) as call:
                if who is not None:
                    require_permitted(who, short_name(method))
                yield who, call
        except NetvpsError as error:
            log.info("call refused", error=str(error), reason=error.reason)
            await _abort(context, error)
        except (grpc.aio.AbortError, grpc.aio.UsageError):
            raise
        except grpc.aio.InternalError as error:  # gRPC raises it for a write after the caller disconnected
            log.debug("caller disconnected", error=str(error))
        except Exception:
            log.exception("call failed")
            sentence = f"internal error: the server's log has the details under request {request_id}; please report it"
            await _abort(context, InternalError(sentence))

    @asynccontextmanager
    async def _reviewed(self, context: Context, who: Caller | Certified | None) -> AsyncIterator[None]:
        """Ends a stream of a user once the credential that opened it is not valid any more, or their role changed."""
        if not isinstance(who, Caller):
            yield
            return
        ended: list[NetvpsError] = []

        async def review() -> None:
            while not ended:
                await asyncio.sleep(REVIEW_SECONDS)
                try:
                    if await self._authenticate(context) != who:
                        ended.append(Unavailable("your role changed: call again", reason="ROLE_CHANGED"))
                except Unauthenticated as error:
                    ended.append(error)
                except NetvpsError as error:
                    log.warning("cannot review a credential", error=str(error))
            limit.reschedule(asyncio.get_running_loop().time())

        try:
            async with asyncio.timeout(None) as limit, Tasks() as tasks:
                tasks.start(review(), name="review of a credential")
                yield
        except TimeoutError:
            if ended:
                raise ended[0] from None
            raise

    async def _identify(self, context: Context, method: str) -> Caller | Certified | None:
        if method.startswith(_SYSTEM) or short_name(method) in OPEN:
            return None
        try:
            who = await self._authenticate(context)
        except Unauthenticated as error:
            self._audit.unauthenticated(error, method, context.peer())
            structlog.contextvars.bind_contextvars(peer=context.peer())
            raise
        if self._passing is not None:
            who = self._passing.identity(who, method, context)
        if isinstance(who, Caller):
            who = replace(who, lease=lease_of(context))
        identity.current.set(who)
        structlog.contextvars.bind_contextvars(caller=identity.shown_as(who))
        return who


class _Messages:
    """The messages of a call, including the first one, which was read before."""

    def __init__(self, first: Any, rest: AsyncIterator[Any]) -> None:
        self._first = first
        self._rest = rest

    def __aiter__(self) -> Self:
        return self

    def __anext__(self) -> Awaitable[Any]:
        # Not a coroutine, for speed: a tunnel has one message per piece of data.
        if self._first is not None:
            return self._take_first()
        return anext(self._rest)

    async def _take_first(self) -> Any:
        first, self._first = self._first, None
        return first


async def _first(context: Context) -> Any:
    """The first message of a call. Raises TimedOut if it does not arrive, InvalidInput if there is none."""
    try:
        async with asyncio.timeout(FIRST_MESSAGE_TIMEOUT):
            message = await context.read()
    except TimeoutError:
        raise TimedOut(
            f"no message came within {FIRST_MESSAGE_TIMEOUT:.0f} s of the call: send the first one at once",
            reason="NO_FIRST_MESSAGE",
        ) from None
    if message is grpc.aio.EOF:  # type: ignore[attr-defined]  # the stubs lack it
        raise InvalidInput.of("request", "the call ended without a message: send one")
    return message


def _or_refused(deserialize: Any) -> Any:
    """Raises InvalidInput for bytes that are not a valid message, anywhere in a call."""

    def deserialized(wire: bytes) -> Any:
        try:
            return deserialize(wire)
        except DecodeError:
            raise InvalidInput.of("request", "these bytes are not a message of this method") from None

    return deserialized


def _unless_encoded(serialize: Any) -> Any:
    """Passes bytes through: messages to many receivers are encoded once by the sender."""

    def serialized(message: Any) -> bytes:
        return message if isinstance(message, bytes) else serialize(message)

    return serialized


async def _abort(context: Context, error: NetvpsError) -> None:
    code, message, details = to_status(error)
    await context.abort(code, message, ((DETAILS_KEY, details),))
