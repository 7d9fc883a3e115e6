"""A terminal of a person, with an ssh in it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from tests.e2e.system import System

_TOO_LONG: Final = 60.0


class Window:
    """ssh on a terminal of its own, whose link can be cut."""

    def __init__(self, system: System, *words: str) -> None:
        master, slave = pty.openpty()
        self._master, self.text = master, ""
        os.set_blocking(master, False)
        environment = system.full_environment() | {"TERM": "xterm"}
        self.ssh = subprocess.Popen(
            ["ssh", *words], stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)

    def type(self, line: str) -> None:
        os.write(self._master, f"{line}\n".encode())

    def shows(self, part: str) -> None:
        """Waits until the window has shown it."""
        end = time.monotonic() + _TOO_LONG
        while part not in self.text:
            assert time.monotonic() < end, f"no {part!r} in {self.text!r}"
            try:
                self.text += os.read(self._master, 65536).decode(errors="replace")
            except BlockingIOError:
                time.sleep(0.02)
            except OSError:  # the end of the program
                assert part in self.text, f"no {part!r} in {self.text!r}"

    def cut(self) -> None:
        """The link is gone, without a word to the other side."""
        self.ssh.send_signal(signal.SIGKILL)
        self.close()

    def close(self) -> None:
        if self.ssh.poll() is None:
            self.ssh.kill()
        self.ssh.wait(_TOO_LONG)
        os.close(self._master)
