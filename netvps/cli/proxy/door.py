"""Opens what carries a connection: a ticket of the API, then a TCP connection to the SSH port that begins with it."""

from __future__ import annotations

import select
import socket
import time
from typing import TYPE_CHECKING, Final

from netvps.cli.access import gateway
from netvps.domain.proxy import GREETING, MAX_LINE, Word, parse
from netvps.errors import Unavailable, WrongState

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.cli.server.contexts import Context
    from netvps.client import Client

CONNECT_SECONDS: Final = 10.0
ANSWER_SECONDS: Final = 330.0
"""More than a session may take to start."""
_KEEPALIVE: Final = (("TCP_KEEPIDLE", 20), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 4), ("TCP_USER_TIMEOUT", 120_000))
"""A server that vanished is noticed within a minute, or two while sending, as by the gateway's own connections."""


class Left(Exception):
    """The SSH client has closed its end."""


class Door:
    """The way to a session."""

    def __init__(self, dial: Callable[[], Client], where: Context, host: str, say: Callable[[str], None]) -> None:
        """`say` gets the progress of a session that is being woken."""
        self._dial, self._where, self._host, self._say = dial, where, host, say
        self._address: tuple[str, int] | None = None

    def open(self, attachment: bytes, client_input: int) -> tuple[socket.socket, bytes]:
        """A connection to the session's agent, and what it received already.

        Raises NetvpsError (Unavailable if another try may succeed), OSError, and Left once the SSH client has closed
        its end, `client_input`.
        """
        with self._dial() as client:
            if self._address is None:
                self._address = gateway.address(client.server_info(), self._where)
            ticket = client.issue_ssh_ticket(self._host, attachment)
        sock = socket.create_connection(self._address, CONNECT_SECONDS)
        try:
            _keep_alive(sock)
            sock.sendall(GREETING + ticket.encode() + b"\n")
            return sock, self._answer(sock, client_input)
        except BaseException:
            sock.close()
            raise

    def _answer(self, sock: socket.socket, client_input: int) -> bytes:
        """Waits until the agent has the connection; returns what follows."""
        until = time.monotonic() + ANSWER_SECONDS
        received = b""
        while True:
            line, found, rest = received.partition(b"\n")
            if found:
                received = rest
                if self._is_open(line):
                    return received
                continue
            if len(received) > MAX_LINE:
                raise Unavailable(f"no gateway of netvps answers at {self._address}: check the server's address")
            if left(client_input, sock, until - time.monotonic()):
                raise Left
            received += (piece := sock.recv(4096))
            if not piece:
                raise Unavailable("the gateway closed the connection: try again")

    def _is_open(self, line: bytes) -> bool:
        match parse(line):
            case (Word.OPEN, _):
                return True
            case (Word.WAIT, text):
                self._say(text)
            case (Word.REFUSED, text):
                raise WrongState(text)
            case (Word.LATER, text):
                raise Unavailable(text)
            case _ if not line.startswith(b"SSH-2.0-"):
                raise Unavailable(f"the gateway answers {line[:200].decode(errors='replace')!a}: try again")
        return False


def left(client_input: int, sock: socket.socket | None, seconds: float) -> bool:
    """Waits until a socket has data, or for a time; whether the SSH client closed its end meanwhile.

    Raises Unavailable if the socket has none by then.
    """
    poll = select.poll()
    poll.register(client_input, 0)  # POLLHUP
    if sock is not None:
        poll.register(sock, select.POLLIN)
    events = dict(poll.poll(max(0.0, seconds) * 1000))
    if client_input in events:
        return True
    if sock is not None and not events:
        raise Unavailable("the gateway does not answer: try again")
    return False


def _keep_alive(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for name, value in _KEEPALIVE:
        if (option := getattr(socket, name, None)) is not None:  # macOS lacks some
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
