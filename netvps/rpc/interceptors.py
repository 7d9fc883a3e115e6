"""What happens around every call: who calls, what the log says, and how errors reach the caller."""

from __future__ import annotations

import inspect
import secrets
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import structlog

from netvps.errors import InternalError, NetvpsError, Unauthenticated
from netvps.rpc import identity
from netvps.rpc.status import DETAILS_KEY, to_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from netvps.rpc.authenticators import Authenticator
    from netvps.rpc.context import Context

    Handler = grpc.RpcMethodHandler[Any, Any]
    Details = grpc.HandlerCallDetails

log = structlog.get_logger()

_SYSTEM = ("/grpc.health.v1.Health/", "/grpc.reflection.")
"""Served to everybody, by code that is not ours."""
_OPEN = ("/netvps.api.v1.ServerService/", "/netvps.api.v1.EnrollmentService/")
"""Need no credential: they tell nothing secret, or the request holds a token."""


class Guard(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Authenticates each call, binds its log context, and turns what it raises into a status."""

    def __init__(self, authenticate: Authenticator) -> None:
        self._authenticate = authenticate

    async def intercept_service(
        self, continuation: Callable[[Details], Awaitable[Handler]], handler_call_details: Details
    ) -> Handler:
        """Wraps the handler of a method; one that does not exist stays gRPC's to answer."""
        handler = await continuation(handler_call_details)
        method = handler_call_details.method
        unknown = handler is None
        if unknown or method.startswith(_SYSTEM):
            return handler
        return self._wrapped(handler, method)

    def _wrapped(self, handler: Handler, method: str) -> Handler:
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": _unless_encoded(handler.response_serializer),
        }
        if handler.response_streaming:
            many = self._streaming(handler.stream_stream or handler.unary_stream, method)
            if handler.request_streaming:
                return grpc.stream_stream_rpc_method_handler(many, **codec)
            return grpc.unary_stream_rpc_method_handler(many, **codec)
        one = self._unary(handler.stream_unary or handler.unary_unary, method)
        if handler.request_streaming:
            return grpc.stream_unary_rpc_method_handler(one, **codec)
        return grpc.unary_unary_rpc_method_handler(one, **codec)

    def _unary(self, behaviour: Any, method: str) -> Any:
        async def call(request: Any, context: Context) -> Any:
            async with self._around(context, method):
                return await behaviour(request, context)

        return call

    def _streaming(self, behaviour: Any, method: str) -> Any:
        # Not an async generator itself: gRPC leaves one that is cancelled while it writes to the garbage collector,
        # so what a servicer holds would be let go of at any time. Here it is closed when the call ends.
        async def call(request: Any, context: Context) -> None:
            async with self._around(context, method):
                if not inspect.isasyncgenfunction(behaviour):
                    await behaviour(request, context)
                    return
                async with aclosing(behaviour(request, context)) as responses:
                    async for response in responses:
                        await context.write(response)

        return call

    @asynccontextmanager
    async def _around(self, context: Context, method: str) -> AsyncIterator[None]:
        request_id = secrets.token_hex(6)
        structlog.contextvars.bind_contextvars(method=method, rpc=request_id)
        try:
            await self._identify(context, method)
            yield
        except NetvpsError as error:
            log.info("call refused", error=str(error), reason=error.reason)
            await _abort(context, error)
        except (grpc.aio.AbortError, grpc.aio.UsageError):
            raise
        except grpc.aio.InternalError as error:  # what gRPC raises for a write to a caller that has gone
            log.debug("caller went away", error=str(error))
        except Exception:
            log.exception("call failed")
            sentence = f"netvps failed at this: its log has the details under request {request_id}; please report it"
            await _abort(context, InternalError(sentence))

    async def _identify(self, context: Context, method: str) -> None:
        if method.startswith(_OPEN):
            return
        try:
            who = await self._authenticate(context)
        except Unauthenticated:
            structlog.contextvars.bind_contextvars(peer=context.peer())
            raise
        identity.current.set(who)
        structlog.contextvars.bind_contextvars(caller=identity.shown_as(who))


def _unless_encoded(serialize: Any) -> Any:
    """What is sent to many is encoded once, by who sends it, and passes as bytes."""

    def serialized(message: Any) -> bytes:
        return message if isinstance(message, bytes) else serialize(message)

    return serialized


async def _abort(context: Context, error: NetvpsError) -> None:
    code, message, details = to_status(error)
    await context.abort(code, message, ((DETAILS_KEY, details),))
