"""Carries out the plan of a deployment, service by service; the old container stays until the new one is healthy."""

from __future__ import annotations

import secrets
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from netvps.cli.ui.waiting import until_settled
from netvps.client import ExecStart, Exit, SessionState, Stderr, StdinEof
from netvps.domain.deployment.plan import (
    IN_PLACE,
    Action,
    Plan,
    Present,
    Step,
    is_served,
    is_unchanged,
    wanted_spec,
    wanted_url,
)
from netvps.domain.session.blueprint import AGENT_PATH
from netvps.errors import Changed, NetvpsError, NotFound, TimedOut, WrongState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netvps.client import Client, Session
    from netvps.domain.deployment.service import Deployment, Service

START_TIMEOUT: Final = 600.0
"""Seconds for an image to be pulled, and a container to start."""
_GONE_TIMEOUT: Final = 60.0
_LOG_LINES: Final = 20
_MOST_OUTPUT: Final = 4096
_TRIES: Final = 5
"""Of a change whose session was written by its runner meanwhile."""


class Rollout:
    """Carries out plans of one deployment. `say` gets a line for each step."""

    def __init__(self, connection: Client, deployment: Deployment, say: Callable[[str], None]) -> None:
        self._connection, self._deployment, self._say = connection, deployment, say

    def run(self, plan: Plan) -> None:
        """Carries out all steps. A service that fails is as it was before, and those after it are not touched.

        Raises what it failed with, and Changed if a session is not what it was in the plan.
        """
        done = {
            Action.CREATE: self._create,
            Action.REPLACE: self._replace,
            Action.CHANGE: self._change,
            Action.REMOVE: self._remove,
        }
        for step in plan.steps:
            if step.action is not Action.KEEP:
                done[step.action](step)

    def _create(self, step: Step) -> None:
        service = _declared(step)
        with self._new_session(step, step.session) as session:
            self._put_route(step, session)
            self._require_healthy(session, service)
        self._say(f"{step.name}: session {step.session} is {_ready_words(service)}")

    def _replace(self, step: Step) -> None:
        service = _declared(step)
        with self._new_session(step, f"{step.session}-{secrets.token_hex(3)}") as session:
            wanted = wanted_url(service)
            if wanted and wanted[0] not in _url_ids(step):  # a host of another user is refused before anything changes
                self._put_route(step, session)
            self._require_healthy(session, service)
            self._say(f"{step.name}: the new container is {_ready_words(service)}; it takes the place of the old one")
            self._at_present(step, lambda revision: self._connection.replace_session(
                step.session, session.name, expected_revision=revision
            ))  # fmt: skip
        self._reroute(step)
        self._say(f"{step.name}: session {step.session} has the new container")

    def _change(self, step: Step) -> None:
        now, name = _present(step).session.spec, step.session
        wanted = wanted_spec(self._deployment, _declared(step), now)
        fields = [field for field in IN_PLACE if getattr(now, field) != getattr(wanted, field)]
        if fields:
            changed = self._at_present(step, lambda revision: self._connection.update_session(
                name, wanted, fields, expected_revision=revision
            ))  # fmt: skip
            (settled,) = until_settled(self._connection, [changed], START_TIMEOUT)
            if any(getattr(settled.spec, field) != getattr(wanted, field) for field in fields):
                raise WrongState(f"service {step.name} keeps its limits: {settled.message}")
        self._reroute(step)
        self._say(f"{step.name}: session {name} is changed")

    def _remove(self, step: Step) -> None:
        removed = self._at_present(
            step, lambda revision: self._connection.delete_session(step.session, expected_revision=revision)
        )
        until_settled(self._connection, [removed], START_TIMEOUT)
        self._say(f"{step.name}: session {step.session} is removed")

    def _at_present(self, step: Step, change: Callable[[int], Session]) -> Session:
        """Changes a session if it is still what it was in the plan; its runner may report meanwhile. Raises Changed."""
        for last in reversed(range(_TRIES)):
            try:
                now = self._connection.get_session(step.session)
            except NotFound:
                raise _moved(step) from None
            if not is_unchanged(now, _present(step).session):
                raise _moved(step)
            try:
                return change(now.revision)
            except Changed:
                if not last:
                    raise
        raise AssertionError("the last try returns or raises")

    @contextmanager
    def _new_session(self, step: Step, name: str) -> Iterator[Session]:
        """A session for the new container, which is removed again if the block fails."""
        self._say(f"{step.name}: starting {_declared(step).image} as session {name}")
        session = self._connection.create_session(name, self._deployment.spec_of(_declared(step)))
        try:
            yield session
        except BaseException as error:
            self._roll_back(step, session, error)
            raise

    def _roll_back(self, step: Step, session: Session, error: BaseException) -> None:
        if isinstance(error, NetvpsError):
            self._say(f"{step.name}: {error}")
            for line in self._last_lines(session.name):
                self._say(f"{step.name} | {line}")
        before = "the old container stays" if step.present else "nothing of it stays"
        self._say(f"{step.name}: rolled back: session {session.name} is removed, {before}")
        with suppress(NetvpsError):  # what it failed with matters more; a plan has what is left
            removed = self._connection.delete_session(session.name)
            until_settled(self._connection, [removed], _GONE_TIMEOUT)

    def _last_lines(self, name: str) -> list[str]:
        with suppress(NetvpsError):
            text = b"".join(self._connection.read_logs(name, _LOG_LINES)).decode(errors="replace")
            return text.splitlines()[-_LOG_LINES:]
        return []

    def _require_healthy(self, session: Session, service: Service) -> None:
        """Waits until a container runs and is ready. Raises WrongState with the reason if it is not in time."""
        (running,) = until_settled(self._connection, [session], START_TIMEOUT)
        if running.state is not SessionState.RUNNING:
            why = running.message or running.reason or f"it is {running.state}"
            raise WrongState(f"service {service.name} did not start: {why}")
        if not service.port:
            return
        wait = f"{service.health_timeout:g}s"
        self._say(f"{service.name}: it runs; waiting up to {wait} until port {service.port} {_answer_words(service)}")
        words = (AGENT_PATH, "probe", "-path", service.health_path, "-timeout", wait, str(service.port))
        said, began = b"", time.monotonic()
        for message in self._connection.exec(ExecStart(session.name, words), iter([StdinEof()])):
            match message:
                case Stderr(data):
                    said = (said + data)[-_MOST_OUTPUT:]
                case Exit(0):
                    return
                case Exit():
                    why = said.decode(errors="replace").strip().removeprefix("agent: ")
                    seconds = time.monotonic() - began
                    raise WrongState(f"service {service.name} was not healthy after {seconds:.0f} s: {why}")
        raise TimedOut(f"service {service.name}: the check of its health was interrupted: apply it again")

    def _reroute(self, step: Step) -> None:
        """Ends the stored URLs that are not declared, and stores the one that is."""
        wanted = wanted_url(_declared(step))
        for id_ in _url_ids(step):
            if wanted is None or id_ != wanted[0]:
                with suppress(NotFound):  # its time is over
                    self._connection.delete_url(step.session, id_)
        if not any(is_served(url, _declared(step)) for url in _present(step).urls):
            self._put_route(step, step.session)

    def _put_route(self, step: Step, session: Session | str) -> None:
        if wanted := wanted_url(_declared(step)):
            _, port, route = wanted
            name = session if isinstance(session, str) else session.name
            self._connection.put_url(name, port, route.audience, host=route.host, users=route.users)


def _declared(step: Step) -> Service:
    if step.service is None:
        raise AssertionError(f"{step.action} is for a service of the file")
    return step.service


def _present(step: Step) -> Present:
    if step.present is None:
        raise AssertionError(f"{step.action} is for a session")
    return step.present


def _url_ids(step: Step) -> list[str]:
    return [url.id for url in _present(step).urls]


def _moved(step: Step) -> Changed:
    return Changed(
        f"session {step.session} changed since the plan, by another program: look again with netvps deploy plan"
    )


def _ready_words(service: Service) -> str:
    return "healthy" if service.port else "running"


def _answer_words(service: Service) -> str:
    return f"answers GET {service.health_path}" if service.health_path else "accepts connections"
