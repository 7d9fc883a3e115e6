"""Filters and orders of sessions and of runners: what they may name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Self, TypeVar

from netvps.domain.checks import Checks
from netvps.domain.filter.expression import Every, Fields, caseless, matches, time_text
from netvps.domain.filter.order import Order
from netvps.domain.filter.parser import parse_expression
from netvps.domain.runner.labels import by_key
from netvps.domain.runner.runner import Runner, RunnerState
from netvps.domain.session.session import Session, SessionState

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")
_EVERYTHING: Final = Every()
_NATURAL: Final = Order()


@dataclass(frozen=True, slots=True)
class Filter(Generic[T]):
    """What a list has, and in what order."""

    fields: ClassVar[Fields[Any]]

    expression: Every = _EVERYTHING
    order: Order = _NATURAL
    text: str = ""
    """Of which it was parsed; a page token is bound to it."""

    @classmethod
    def parse(cls, text: str, order_by: str = "") -> Self:
        """Parses both. Raises InvalidInput with all violations, of `filter` and `order_by`."""
        checks, expression, order = Checks(), _EVERYTHING, _NATURAL
        with checks.nested():
            expression = parse_expression(text, cls.fields)
        with checks.nested():
            order = Order.parse(order_by, cls.fields)
        checks.done()
        return cls(expression, order, f"{text.strip()}\n{order_by.strip()}" if expression.of or order.keys else "")

    def matches(self, resource: T) -> bool:
        """Whether a resource is in the list."""
        return matches(self.expression, resource, self.fields)

    def place(self, resource: T) -> tuple[str, ...]:
        """The texts that place a resource in the order."""
        return self.order.values_of(resource, self.fields)

    def sorted(self, resources: Iterable[T]) -> list[T]:
        """Resources in the order; what is equal stays as it comes."""
        found = list(resources)
        for index, (_, descends) in reversed([*enumerate(self.order.keys)]):
            found.sort(key=lambda one: self.place(one)[index], reverse=descends)
        return found

    def starting(self, after: tuple[str, ...]) -> Self:
        """The same, from a position on."""
        return replace(self, order=replace(self.order, after=after))


class SessionFilter(Filter[Session]):
    """A filter of sessions."""

    fields = Fields(
        texts={
            "name": lambda session: caseless(session.name),
            "owner": lambda session: caseless(session.owner),
            "state": lambda session: caseless(session.state),
            "image": lambda session: caseless(session.spec.image),
            "runner": lambda session: caseless(session.runner_name),
            "address": lambda session: session.overlay_address or session.address,
            "create_time": lambda session: time_text(session.create_time),
        },
        words=("name", "owner", "state", "image", "runner", "address"),
        labels=lambda session: session.spec.labels,
        values={"state": frozenset(map(caseless, SessionState)) - {caseless(SessionState.DELETED)}},
    )


def check_runner_filter(text: str, field: str) -> None:
    """Raises InvalidInput for a text that is no filter of runners."""
    parse_expression(text, RunnerFilter.fields, field)


class RunnerFilter(Filter[Runner]):
    """A filter of runners."""

    fields = Fields(
        texts={
            "name": lambda runner: caseless(runner.name),
            "state": lambda runner: caseless(runner.state),
            "cordoned": lambda runner: caseless(str(runner.cordoned)),
            "architecture": lambda runner: caseless(runner.capacity.architecture),
            "version": lambda runner: caseless(runner.version),
            "create_time": lambda runner: time_text(runner.create_time),
        },
        words=("name", "state", "architecture", "version"),
        labels=lambda runner: by_key(runner.labels),
        values={"state": frozenset(map(caseless, RunnerState)), "cordoned": frozenset({"true", "false"})},
    )
