"""Limits the log: the size of each value, and the volume of lines about one identity.

Log lines contain data from tenants and from unauthenticated peers. So that none of them can rotate the lines about
others away, each value is truncated, and each identity has a budget of bytes that refills slowly. Lines without an
identity have no budget.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping

    Event = MutableMapping[str, Any]

MAX_VALUE: Final = 2000
"""Maximum characters of one value."""
MAX_EXCEPTION: Final = 16_000
"""Maximum characters of a traceback: one third from its beginning, two thirds from its end."""
_MAX_ITEMS: Final = 32
_MAX_KEY: Final = 100
_EXCEPTION: Final = "exception"

_AUDIT: Final = frozenset({"ssh login", "ssh end", "ssh refused"})
"""Lines about logins. They have their own budget, so that a flood of other lines cannot suppress them."""
_ACTORS: Final = ("caller", "user", "session", "origin", "peer")
"""Fields that identify who caused a line; the first one present counts."""
_STRANGERS: Final = frozenset({"origin", "peer"})
_KIB: Final = 1024
_OWN: Final = (128 * _KIB, 512)
_OWN_AUDIT: Final = (256 * _KIB, 1 * _KIB)
_SHARED: Final = (4096 * _KIB, 4 * _KIB)
"""Burst size in bytes, and bytes per second: per identity, and for all identities (or all strangers) together."""
_LINE: Final = 150
"""Bytes of a line besides its values."""
_NOTICE_SECONDS: Final = 60.0
_MAX_BUDGETS: Final = 8192


def bound_event(_logger: object, _method: str, event: Event) -> Event:
    """A structlog processor that truncates each value and escapes control characters."""
    return {_bounded(key, _MAX_KEY): _bounded_value(key, value) for key, value in event.items()}


class VolumeLimit:
    """A structlog processor that drops the lines of an identity beyond its budget.

    The first dropped line is replaced by a notice; the next line within the budget has a field `suppressed` with the
    number of dropped lines.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._budgets: OrderedDict[tuple[str, str, bool], _Budget] = OrderedDict()
        self._shared: dict[str, _Budget] = {}
        self._lock = threading.Lock()

    def __call__(self, _logger: object, _method: str, event: Event) -> Event:
        """Raises structlog.DropEvent for a line beyond the budget."""
        actor = next((name for name in _ACTORS if event.get(name)), None)
        if actor is None:
            return event
        with self._lock:
            return self._within(event, actor, _without_port(str(event[actor])[:_MAX_KEY]))

    def _within(self, event: Event, actor: str, who: str) -> Event:
        audit, now = event.get("event") in _AUDIT, self._clock()
        budget = self._budget(actor, who, audit=audit)
        budgets = [budget]
        if not audit or actor in _STRANGERS:
            kind = "strangers" if audit else "all"
            budgets.append(self._shared.setdefault(kind, _Budget(*_SHARED, now)))
        cost = _LINE + sum(len(key) + min(len(str(value)), MAX_VALUE) for key, value in event.items())
        if all(each.has(cost, now) for each in budgets):
            for each in budgets:
                each.left -= cost
            if budget.suppressed:
                event["suppressed"], budget.suppressed = budget.suppressed, 0
            return event
        budget.suppressed += 1
        if now - budget.noticed < _NOTICE_SECONDS:
            raise structlog.DropEvent
        budget.noticed = now
        return {"event": "log budget exceeded: some lines are dropped", actor: event[actor]} | (
            {"program": event["program"]} if "program" in event else {}
        )

    def _budget(self, actor: str, who: str, *, audit: bool) -> _Budget:
        key = actor, who, audit
        budget = self._budgets.get(key)
        if budget is None:
            budget = self._budgets[key] = _Budget(*(_OWN_AUDIT if audit else _OWN), self._clock())
            if len(self._budgets) > _MAX_BUDGETS:
                self._budgets.popitem(last=False)
        self._budgets.move_to_end(key)
        return budget


class _Budget:
    """A token bucket of bytes."""

    def __init__(self, most: int, rate: int, now: float) -> None:
        self.left: float = most
        self.suppressed = 0
        self.noticed = -_NOTICE_SECONDS
        self._most, self._rate, self._at = most, rate, now

    def has(self, cost: int, now: float) -> bool:
        self.left = min(self._most, self.left + (now - self._at) * self._rate)
        self._at = now
        return self.left >= cost


def _without_port(who: str) -> str:
    """The host of an origin ("user@192.0.2.7:50312"), without the port, which differs between connections."""
    address = who.rpartition("@")[2]
    host, _, port = address.rpartition(":")
    return host if host and port.isdigit() else address


def _bounded_value(key: str, value: Any) -> Any:
    match value:
        case str():
            return _bounded_exception(value) if key == _EXCEPTION else _bounded(value)
        case bytes() | bytearray():
            return _bounded(value[:MAX_VALUE].decode(errors="replace"), whole=len(value))
        case bool() | int() | float() | None:
            return value
        case dict() | list() | tuple() | set() | frozenset():
            return _bounded_items(value)
        case _:
            return _bounded(str(value))


def _bounded_items(value: Any) -> Any:
    """A small flat collection unchanged; any other as truncated text."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    if len(value) > _MAX_ITEMS or any(isinstance(item, dict | list | tuple | set | frozenset) for _, item in items):
        return _bounded(repr(value))
    if isinstance(value, dict):
        return {_bounded(str(key), _MAX_KEY): _bounded_value("", item) for key, item in value.items()}
    return [_bounded_value("", item) for item in value]


def _bounded(text: str, limit: int = MAX_VALUE, *, whole: int = 0) -> str:
    whole = whole or len(text)
    shown = text[:limit]
    if not shown.isprintable():
        shown = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in shown)[: 2 * limit]
    return shown if whole <= limit else f"{shown}… ({whole} characters)"


def _bounded_exception(text: str) -> str:
    if len(text) > MAX_EXCEPTION:
        third = MAX_EXCEPTION // 3
        text = f"{text[:third]}\n… ({len(text)} characters)\n{text[-2 * third :]}"
    return "".join(one if one.isprintable() or one in "\n\t" else ascii(one)[1:-1] for one in text)
