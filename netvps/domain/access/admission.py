"""Admission control of unauthenticated connections: serves, queues or refuses each by its source address.

A source is one IPv4 address or one IPv6 /64. Each has a budget of handshakes, which refills with time. A connection
takes one, and a successful login gives it back, so only failures use up the budget: a machine may log in a hundred
times in a row. A source whose budget is empty is banned for a short time, which doubles while the failures continue.
No source takes the slots of another: beyond its own limit its connections queue, and when all slots of the gateway
are in use, the oldest connection of the source with the most is dropped. The table of sources is bounded; the least
recently seen source is evicted first.

The caller supplies the clock and the randomness: seconds of a monotonic clock, and numbers in [0, 1).
"""

from __future__ import annotations

import ipaddress
from collections import deque
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

_V6_PREFIX: Final = 64
_UNKNOWN: Final = "unknown"
_FULL: Final = "too many unauthenticated connections"


class Outcome(Enum):
    """How a connection left the unauthenticated state. The value is its cost in handshakes."""

    LOGGED_IN = 0.0
    """Also refused after a valid key, for example because the session is stopped."""
    SAID_NOTHING = 0.1
    """It closed before the key exchange, as a monitoring probe does."""
    FAILED = 1.0
    ABUSED = 5.0
    """It broke the protocol, or sent more data than a login needs."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of unauthenticated connections, as in sshd's MaxStartups and PerSourcePenalties."""

    served_per_source: int = 10
    waiting_per_source: int = 100
    handshakes: float = 20.0
    """Budget of a source. It refills completely within `window` seconds."""
    window: float = 60.0
    early: int = 100
    """From this number on, further connections of a source that already has one are refused with some probability."""
    early_probability: float = 0.3
    """The probability at `early`; it grows linearly to 1 at `full`."""
    full: int = 400
    waiting: int = 1000
    shortest_ban: float = 15.0
    longest_ban: float = 120.0
    forgiven_after: float = 600.0
    """Seconds without a ban after which the next ban is the shortest again."""
    sources: int = 10_000


class Ticket:
    """One connection, from its arrival until `leave`. Compared by identity."""

    __slots__ = ("number", "served", "source")

    def __init__(self, source: str, number: int) -> None:
        self.source = source
        self.number = number
        self.served = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The result of an arrival or a departure."""

    ticket: Ticket | None = None
    """The arrival's ticket: served if `ticket.served`, else queued. None if it is refused."""
    reason: str = ""
    """Why the arrival, or the connections in `dropped`, are refused."""
    admitted: tuple[Ticket, ...] = ()
    """Queued connections that are served from now on."""
    dropped: tuple[Ticket, ...] = ()
    """Connections to close. They count as left already."""


@dataclass(slots=True)
class _Source:
    budget: float
    refilled_at: float
    served: dict[Ticket, None] = field(default_factory=dict)
    waiting: deque[Ticket] = field(default_factory=deque)
    banned_until: float = float("-inf")
    ban: float = 0.0

    def idle(self) -> bool:
        return not self.served and not self.waiting


class Admission:
    """The state of all sources. Each call takes the time; the cost is constant unless the gateway is full."""

    def __init__(self, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self._sources: dict[str, _Source] = {}
        self._served = 0
        self._waiting = 0
        self._arrivals = 0

    @property
    def served(self) -> int:
        """Number of unauthenticated connections that are served."""
        return self._served

    @property
    def waiting(self) -> int:
        """Number of queued connections."""
        return self._waiting

    @property
    def sources(self) -> int:
        """Number of sources in the table."""
        return len(self._sources)

    def arrive(self, address: str, now: float, chance: float) -> Decision:
        """Decides about a new connection from an address."""
        name, limits = source_of(address), self._limits
        source = self._source(name, now)
        if reason := self._banned(source, now):
            return Decision(reason=reason)
        self._arrivals += 1
        ticket = Ticket(name, self._arrivals)
        if source.waiting or len(source.served) >= limits.served_per_source:
            if len(source.waiting) >= limits.waiting_per_source or self._waiting >= limits.waiting:
                return Decision(reason=_FULL)
            source.waiting.append(ticket)
            self._waiting += 1
            return Decision(ticket)
        if source.budget < 1:
            return Decision(reason=self._start_ban(source, now))
        if source.served and chance < self._early_probability():
            return Decision(reason="many unauthenticated connections, and this address has some already")
        return self._serve_in_place_of_another(source, ticket)

    def _serve_in_place_of_another(self, source: _Source, ticket: Ticket) -> Decision:
        """Serves the connection.

        On a full gateway, drops one of the source with the most, unless that is its own source.
        """
        dropped: tuple[Ticket, ...] = ()
        if self._served >= self._limits.full:
            victim = self._oldest_of_the_largest()
            if len(self._sources[victim.source].served) <= len(source.served):
                return Decision(reason=_FULL)
            self._remove(victim)
            dropped = (victim,)
        self._serve(source, ticket)
        return Decision(ticket, _FULL if dropped else "", dropped=dropped)

    def leave(self, ticket: Ticket, outcome: Outcome, now: float) -> Decision:
        """Records that a connection logged in or ended. Does nothing if it left before."""
        source = self._sources.get(ticket.source)
        if source is None or (ticket not in source.served and ticket not in source.waiting):
            return Decision()
        if ticket.served:
            self._refill(source, now)
            source.budget = min(self._limits.handshakes, source.budget + 1 - outcome.value)
        self._remove(ticket)
        return self._fill(source, now)

    def _fill(self, source: _Source, now: float) -> Decision:
        """Serves queued connections of a source while it has slots and budget.

        Without budget, drops all of them and bans it.
        """
        admitted: list[Ticket] = []
        while source.waiting and len(source.served) < self._limits.served_per_source:
            if source.budget < 1:
                dropped = tuple(source.waiting)
                self._waiting -= len(dropped)
                source.waiting.clear()
                return Decision(reason=self._start_ban(source, now), admitted=tuple(admitted), dropped=dropped)
            if self._served >= self._limits.full:
                break  # they stay queued until the next connection of this source leaves
            ticket = source.waiting.popleft()
            self._waiting -= 1
            self._serve(source, ticket)
            admitted.append(ticket)
        return Decision(admitted=tuple(admitted))

    def _serve(self, source: _Source, ticket: Ticket) -> None:
        source.budget -= 1
        source.served[ticket] = None
        self._served += 1
        ticket.served = True

    def _remove(self, ticket: Ticket) -> None:
        source = self._sources[ticket.source]
        if ticket.served:
            del source.served[ticket]
            self._served -= 1
        else:
            source.waiting.remove(ticket)
            self._waiting -= 1

    def _source(self, name: str, now: float) -> _Source:
        """The state of a source, moved to the end of the LRU order.

        Evicts the least recent idle source if the table is full.
        """
        found = self._sources.pop(name, None)
        if found is None:
            found = _Source(self._limits.handshakes, now)
            if len(self._sources) >= self._limits.sources:
                # Sources with connections are not evicted; there are at most `full` + `waiting` of them.
                oldest = next((name for name, source in self._sources.items() if source.idle()), None)
                if oldest is not None:
                    del self._sources[oldest]
        self._sources[name] = found
        self._refill(found, now)
        return found

    def _refill(self, source: _Source, now: float) -> None:
        limits = self._limits
        earned = (now - source.refilled_at) * limits.handshakes / limits.window
        source.budget = min(limits.handshakes, source.budget + max(0.0, earned))
        source.refilled_at = now

    def _banned(self, source: _Source, now: float) -> str:
        left = source.banned_until - now
        return _ban_text(left) if left > 0 else ""

    def _start_ban(self, source: _Source, now: float) -> str:
        limits = self._limits
        recent = now - source.banned_until < limits.forgiven_after
        source.ban = min(limits.longest_ban, source.ban * 2) if recent and source.ban else limits.shortest_ban
        source.banned_until = now + source.ban
        source.budget = max(source.budget, 0.0)  # a negative budget would extend the ban beyond the time in the message
        return _ban_text(source.ban)

    def _early_probability(self) -> float:
        limits = self._limits
        if self._served < limits.early:
            return 0.0
        rest = (self._served - limits.early) / max(1, limits.full - limits.early)
        return limits.early_probability + (1 - limits.early_probability) * min(1.0, rest)

    def _oldest_of_the_largest(self) -> Ticket:
        holding = (source for source in self._sources.values() if source.served)
        largest = max(holding, key=lambda source: (len(source.served), -next(iter(source.served)).number))
        return next(iter(largest.served))


def source_of(address: str) -> str:
    """The source that an address counts for: itself, or its /64. Everything that is no IP address is one source."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return _UNKNOWN
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found) >> _V6_PREFIX << _V6_PREFIX, _V6_PREFIX)))


def _ban_text(seconds: float) -> str:
    return f"too many connections that did not log in: try again in {seconds:.0f} s"
