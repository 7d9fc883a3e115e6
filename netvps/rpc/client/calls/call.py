"""A call as a value, and as a method of both clients: of Client it returns, of AsyncClient it is awaited."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, Protocol, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator

    from netvps.rpc.client.async_transport import AsyncTransport
    from netvps.rpc.client.transport import Transport

UNARY_SLACK: Final = 10.0
"""Seconds that a call which waits on the server may take longer than that."""
P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Unary(Generic[R_co]):
    """One request, one answer. `method` is "Service/Method", `response` the class of the answer.

    `timeout` is in seconds, with all retries; None is the client's.
    """

    method: str
    request: Any
    response: Any
    read: Callable[[Any], R_co]
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Pages(Generic[R_co]):
    """A list, which comes in pages; `read` yields the items of one."""

    method: str
    request: Any
    response: Any
    read: Callable[[Any], Iterable[R_co]]


@dataclass(frozen=True, slots=True)
class Stream(Generic[R_co]):
    """One request and many answers, for at most `timeout` seconds (None: for as long as they are read)."""

    method: str
    request: Any
    response: Any
    read: Callable[[Any], R_co]
    timeout: float | None = None


class Blocking(Protocol):
    """A client whose calls block."""

    transport: Transport


class Awaiting(Protocol):
    """A client whose calls are awaited."""

    transport: AsyncTransport


class _Bound(Generic[P]):
    """What the three kinds of methods share: `find` returns the function that makes the call from the arguments.

    It is found when the method is used, because its module imports all that its calls convert.
    """

    _carrier: str

    def __init__(self, find: Callable[[], Callable[P, Any]]) -> None:
        self._find = find

    def _bind(self, client: Any) -> Any:
        build = self._find()
        if client is None:
            return build
        carry = getattr(client.transport, self._carrier)

        def call(*args: P.args, **kwargs: P.kwargs) -> Any:
            return carry(build(*args, **kwargs))

        return update_wrapper(call, build)


class UnaryMethod(_Bound[P], Generic[P, R]):
    """A method that returns the answer."""

    _carrier = "call"

    def __init__(self, find: Callable[[], Callable[P, Unary[R]]]) -> None:
        super().__init__(find)

    @overload
    def __get__(self, client: None, owner: object = None) -> Callable[P, Unary[R]]: ...
    @overload
    def __get__(self, client: Blocking, owner: object = None) -> Callable[P, R]: ...
    @overload
    def __get__(self, client: Awaiting, owner: object = None) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __get__(self, client: Any, owner: object = None) -> Any:
        return self._bind(client)


class ListMethod(_Bound[P], Generic[P, R]):
    """A method that yields the items of a list; pages are fetched on demand."""

    _carrier = "pages"

    def __init__(self, find: Callable[[], Callable[P, Pages[R]]]) -> None:
        super().__init__(find)

    @overload
    def __get__(self, client: None, owner: object = None) -> Callable[P, Pages[R]]: ...
    @overload
    def __get__(self, client: Blocking, owner: object = None) -> Callable[P, Iterator[R]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: object = None) -> Callable[P, AsyncIterator[R]]: ...
    def __get__(self, client: Any, owner: object = None) -> Any:
        return self._bind(client)


class StreamMethod(_Bound[P], Generic[P, R]):
    """A method that yields answers as they come; closing the generator cancels the call."""

    _carrier = "stream"

    def __init__(self, find: Callable[[], Callable[P, Stream[R]]]) -> None:
        super().__init__(find)

    @overload
    def __get__(self, client: None, owner: object = None) -> Callable[P, Stream[R]]: ...
    @overload
    def __get__(self, client: Blocking, owner: object = None) -> Callable[P, Generator[R, None, None]]: ...
    @overload
    def __get__(self, client: Awaiting, owner: object = None) -> Callable[P, AsyncGenerator[R, None]]: ...
    def __get__(self, client: Any, owner: object = None) -> Any:
        return self._bind(client)


def new_request_id() -> str:
    """A request id. It is part of the request, so that each retry of a call carries the same one."""
    return os.urandom(16).hex()


def nothing(_answer: object) -> None:
    """Reads an answer that says nothing."""
