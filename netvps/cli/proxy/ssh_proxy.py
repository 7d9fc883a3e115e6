"""`netvps ssh-proxy`: the ProxyCommand of an ssh to a session."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

import click

from netvps.cli.help.completion import complete_session
from netvps.cli.proxy.carrier import Carrier, Pipes
from netvps.cli.proxy.door import Door, Left, left
from netvps.cli.server import connect
from netvps.display.text import clean
from netvps.domain.resumable import ID_SIZE, KEY_SIZE, Credential, Resumable
from netvps.errors import NetvpsError, TimedOut, Unavailable
from netvps.exit_codes import LOST_TRANSPORT

if TYPE_CHECKING:
    import socket

TRY_SECONDS: Final = 110.0
"""How long a broken connection is tried to be carried on: a bit less than the agent keeps it."""
_PAUSES: Final = (0.1, 0.2, 0.4, 0.8, 1.6)


@click.command("ssh-proxy")
@click.argument("host", shell_complete=complete_session)
def ssh_proxy(host: str) -> None:
    """Carry the bytes of an ssh to a session, on standard input and output; for ssh's ProxyCommand.

    HOST is NAME, NAME.OWNER or NAME.OWNER.nv.internal. ssh and the session encrypt end to end: the gateway cannot read
    it. A stopped or paused session is woken as by any login. When the connection to the gateway breaks, or the gateway
    is restarted, the ssh goes on where it was, within two minutes.

    Example: ssh -o ProxyCommand='netvps ssh-proxy %h' root@dev1
    """
    for kind in (signal.SIGINT, signal.SIGHUP):  # ssh gets them, too, and closes its end when it leaves
        signal.signal(kind, signal.SIG_IGN)
    where = connect.context()
    door = Door(partial(connect.dial, where), where, host, _say)
    try:
        with Pipes(sys.stdin.fileno(), sys.stdout.fileno()) as pipes:
            reason = Proxy(door, pipes).run()
    except (NetvpsError, OSError) as error:
        reason = str(error)
    except Left:
        reason = ""
    if reason:
        _say(reason)
        click.get_current_context().exit(LOST_TRANSPORT)


class Proxy:
    """One connection, over as many carriers as it takes."""

    def __init__(self, door: Door, pipes: Pipes) -> None:
        self._door, self._pipes = door, pipes
        self._kept = Resumable()
        self._credential = Credential(os.urandom(ID_SIZE + KEY_SIZE))

    def run(self) -> str:
        """Returns why the session ended it, '' for a regular end. Raises NetvpsError, OSError, Left."""
        opened = self._open()
        while True:
            sock, received = opened
            try:
                broken = Carrier(sock, self._kept, self._pipes, received).run()
            finally:
                sock.close()
            if not broken or self._pipes.ended:
                return self._kept.over or ""
            _say(f"the connection broke ({broken}): trying to go on")
            opened = self._open_again()
            _say("the connection goes on")

    def _open(self) -> tuple[socket.socket, bytes]:
        return self._door.open(self._credential.attachment(), self._pipes.source)

    def _open_again(self) -> tuple[socket.socket, bytes]:
        """Tries until the time is over. Raises NetvpsError, Left."""
        until = time.monotonic() + TRY_SECONDS
        attempt = 0
        while True:
            try:
                return self._open()
            except (Unavailable, TimedOut, OSError) as error:
                if time.monotonic() >= until:
                    raise Unavailable(f"the connection is lost: {error}") from error
            pause = _PAUSES[min(attempt, len(_PAUSES) - 1)] * random.uniform(0.5, 1.0)  # noqa: S311 — jitter
            attempt += 1
            if left(self._pipes.source, None, pause):
                raise Left


def _say(text: str) -> None:
    """Prints a line on stderr, where ssh may have made the terminal raw."""
    with suppress(OSError):
        end = "\r\n" if sys.stderr.isatty() else "\n"
        sys.stderr.write(f"netvps: {clean(text)}{end}")
        sys.stderr.flush()
