"""Joins a viewer's channel with a terminal in a session, and passes the size, the input and the output on."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from asyncssh import SSHClientConnection, SSHClientSession

from netvps.gateway.ssh.pacing import Paced

if TYPE_CHECKING:
    from asyncssh import SSHClientChannel, SSHServerChannel


class AgentConnection(Paced, SSHClientConnection):
    """A connection to an agent, paced so that a session that floods it does not block the event loop."""


class ChannelRelay(SSHClientSession[bytes]):
    """The channel to the agent; `ended` is set when the program in the session has ended."""

    def __init__(self, viewer: SSHServerChannel[bytes]) -> None:
        self.ended = asyncio.Event()
        self._viewer = viewer
        self._agent: SSHClientChannel[bytes] | None = None

    @classmethod
    async def open(cls, connection: SSHClientConnection, viewer: SSHServerChannel[bytes]) -> Self:
        """Opens a shell on a terminal like the viewer's. Raises asyncssh.Error, OSError."""
        relay = cls(viewer)
        relay._agent, _ = await connection.create_session(
            lambda: relay,
            term_type=viewer.get_terminal_type(),
            term_size=viewer.get_terminal_size(),
            term_modes=viewer.get_terminal_modes(),
            env=list(viewer.get_environment().items()),
            encoding=None,
        )
        return relay

    # From the viewer

    def feed(self, data: bytes) -> None:
        """Passes input on."""
        if self._agent:
            with suppress(OSError):
                self._agent.write(data)

    def resize(self, width: int, height: int, pixwidth: int, pixheight: int) -> None:
        """Passes a new size on."""
        if self._agent:
            with suppress(OSError):
                self._agent.change_terminal_size(width, height, pixwidth, pixheight)

    def end_input(self) -> None:
        """Passes the end of input on."""
        if self._agent:
            with suppress(OSError):
                self._agent.write_eof()

    def pause(self) -> None:
        """The viewer does not read: the program waits, once the window of the channel is full."""
        if self._agent:
            self._agent.pause_reading()

    def resume(self) -> None:
        """The viewer reads again."""
        if self._agent:
            self._agent.resume_reading()

    # Called by asyncssh, for the agent

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Passes output on."""
        with suppress(OSError):
            self._viewer.write(data, datatype)

    def pause_writing(self) -> None:
        """The program does not read its input."""
        with suppress(OSError):
            self._viewer.pause_reading()

    def resume_writing(self) -> None:
        """The program reads again."""
        with suppress(OSError):
            self._viewer.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The program ended, or the connection broke."""
        with suppress(OSError):
            self._viewer.resume_reading()
        self.ended.set()
