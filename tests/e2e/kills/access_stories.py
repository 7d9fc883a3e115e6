"""Operations of people who log in, for the walk."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from netvps.domain.runner.docker_names import container_name
from netvps.faults import HANG
from tests.e2e.kills.faulty import until
from tests.e2e.system import docker, unique
from tests.e2e.window import Window

if TYPE_CHECKING:
    from pathlib import Path

    from netvps.domain.session.session import Session
    from netvps.domain.session.spec import SessionSpec
    from tests.e2e.kills.faulty import Faulty

ACCESS_PASSES: Final = {
    "log_in": ["gateway.authenticated", "gateway.reached"],
    "keep_terminal": ["agent.terminal_kept"],
}
"""Operation → the points that it passes."""
_ENDED: Final = 3
_TOO_LONG: Final = 60.0


class AccessStories:
    """A part of Stories."""

    system: Faulty
    spec: SessionSpec

    def _running(self) -> str:
        """A session that runs, with the file of `write_file`."""
        raise NotImplementedError

    def _require(self, name: str) -> Session:
        """The session, settled."""
        raise NotImplementedError

    def _delete(self, name: str) -> None:
        """Deletes a session."""
        raise NotImplementedError

    def _new_key(self) -> Path:
        """A key that opens nothing."""
        raise NotImplementedError

    def log_in(self, point: str, mode: str) -> None:
        """A login is interrupted; the next one works, and a key that opens nothing opens nothing meanwhile."""
        name, stranger = self._running(), self._new_key()
        with self.system.struck(point, mode):
            self.system.require_file(name, "kept")
            assert self.system.in_session(name, "true", key=stranger) is None
        self.system.require_file(name, "kept")

    def keep_terminal(self, point: str, mode: str) -> None:
        """A terminal that is kept is there after a hang of its agent; after its end, the same login gets a new one."""
        system, name = self.system, unique("s")
        system.ask("create", name, replace(self.spec, env={"NETVPS_FAULT": f"{point}={mode}"}))
        container, hit = container_name(self._require(name).uid), f"A /.netvps/state/{point}.hit"
        login = ("-tt", "-o", "SetEnv=NETVPS_TERMINAL=work", *system.ssh_options(name), "127.0.0.1")
        first = Window(system, *login)
        until(f"the agent passes {point}", lambda: hit in docker("diff", container, check=False))
        if mode == HANG:
            first.type("here=kept; echo one$((1+1))")
            first.shows("one2")
        first.cut()
        system.write_file(name, "kept")
        again = Window(system, *login)
        again.type(f"echo [$here]; exit {_ENDED}")
        again.shows("[kept]" if mode == HANG else "[]")
        assert again.ssh.wait(_TOO_LONG) == _ENDED
        again.close()
        self._delete(name)
