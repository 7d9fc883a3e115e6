"""Interfaces that rpc requires of the gateway, as Protocols; the programs connect the two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.session.exec import ExecStart, FromCommand, ToCommand
    from netvps.domain.session.session import Session
    from netvps.domain.tunnel import AgentHello, DialTarget, Frame, FromAgent, ToAgent


class Tunnels(Protocol):
    """Connections into sessions through their agents."""

    def control(self, hello: AgentHello, incoming: AsyncIterator[FromAgent]) -> AsyncIterator[ToAgent]:
        """Exchanges messages with an agent until it disconnects or a newer stream replaces it."""

    def dial_back(self, session_uid: str, dial_id: str, incoming: AsyncIterator[Frame]) -> AsyncIterator[Frame]:
        """Carries one connection. A dial id that is unknown for that session, or used, gets a Reset."""

    def has(self, session_uid: str) -> bool:
        """Whether the agent of a session is connected here."""

    async def relay(
        self, session_uid: str, target: DialTarget, origin: str, incoming: AsyncIterator[Frame]
    ) -> AsyncIterator[Frame]:
        """Opens a connection into a session whose agent is connected here, for another server; the frames for that.

        Raises Unavailable, Exhausted.
        """


class Commands(Protocol):
    """Commands in running sessions."""

    def run(
        self, session: Session, start: ExecStart, incoming: AsyncIterator[ToCommand], *, user: str
    ) -> AsyncIterator[FromCommand]:
        """Runs a command on behalf of `user`; Exit comes last. Raises WrongState or Unavailable."""
