"""Another machine, for joins at whose points faults are armed."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.e2e.kills.faulty import Faulty, until
from tests.e2e.system import unique

if TYPE_CHECKING:
    from collections.abc import Callable


class Machine:
    """Another machine, as far as netvps can tell: folders of its own, and a runner that is started until it stays."""

    def __init__(self, system: Faulty) -> None:
        self._server = f"127.0.0.1:{system.ports['api']}"
        self._folder = system.state.parent / unique("m")
        self._folder.mkdir()
        own = {"NETVPS_STATE_DIR": str(self._folder / "s"), "NETVPS_RUNTIME_DIR": str(self._folder / "r")}
        self._environment = system.full_environment() | own

    def join(self, name: str, token: str, joined: Callable[[], bool]) -> None:
        """Runs a runner until `joined`, then kills it."""
        file = self._folder / "token"
        file.write_text(token)
        flags = ["--server", self._server, "--join-token-file", str(file), "--name", name]
        command = [sys.executable, "-m", "netvps.programs.runner", *flags]
        process: subprocess.Popen[bytes] | None = None

        def goes_on() -> bool:
            nonlocal process
            if process is None or process.poll() is not None:
                with (self._folder / "log").open("ab") as log:
                    process = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)
            return joined()

        try:
            until(f"{name} joins", goes_on)
        finally:
            if process is not None:
                process.kill()
                process.wait()
