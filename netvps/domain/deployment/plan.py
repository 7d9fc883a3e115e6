"""Compares a deployment with the sessions that there are, and says what has to be done; pure.

Values of the environment and arguments of commands are in no word of a plan: they may be secret.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from netvps.domain.deployment.service import PORT_LABEL, Deployment, Route, Service, deployment_of, service_of
from netvps.domain.http.stored import Audience
from netvps.domain.session.limits import bytes_words
from netvps.domain.session.session import DesiredState, SessionState
from netvps.errors import AlreadyExists

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from netvps.domain.http.stored import NamedUrl, StoredUrl
    from netvps.domain.session.session import Session
    from netvps.domain.session.spec import SessionSpec

IN_PLACE: Final = ("cpus", "memory_bytes", "sleep", "labels")
"""Fields of a spec that change without another container."""


class Action(StrEnum):
    """What has to be done for a service."""

    CREATE = "create"
    REPLACE = "replace"
    """Start another container, and give it the name and the URLs once it is healthy."""
    CHANGE = "change"
    """Change limits, idle timeout or routes of the container that runs."""
    KEEP = "keep"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Present:
    """A session that is a service, with its environment and command, and its stored URLs without links."""

    session: Session
    urls: tuple[StoredUrl, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """What has to be done for one service."""

    action: Action
    session: str
    """NAME."""
    changes: tuple[str, ...] = ()
    """What differs, in words."""
    service: Service | None = None
    """None for one that is removed."""
    present: Present | None = None
    """None for one that is created."""

    @property
    def name(self) -> str:
        """The service."""
        return self.service.name if self.service else service_of(self.present.session) if self.present else ""


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps, in the order in which they are taken."""

    deployment: str
    steps: tuple[Step, ...]
    revision: str
    """Differs if the deployment, or anything that the steps touch, is another one."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing has to be done."""
        return all(step.action is Action.KEEP for step in self.steps)


def wanted_spec(deployment: Deployment, service: Service, now: SessionSpec) -> SessionSpec:
    """The spec that a service should have; labels that its owner added stay."""
    wanted = deployment.spec_of(service)
    return replace(wanted, labels={**now.labels, **wanted.labels})


def is_unchanged(now: Session, planned: Session) -> bool:
    """Whether a session is what it was in a plan, whatever its runner reported since."""
    return now.uid == planned.uid and now.spec == planned.spec and now.desired is not DesiredState.DELETED


def make_plan(deployment: Deployment, sessions: Sequence[Session], urls: Iterable[NamedUrl]) -> Plan:
    """The plan for a deployment, from the sessions of its owner and their stored URLs.

    The sessions of the deployment have their environment and command, others need none. Raises AlreadyExists if a
    name or a host belongs to a session of another deployment, or of none.
    """
    sessions = [session for session in sessions if session.desired is not DesiredState.DELETED]
    stored = [named for named in urls if named.url.audience is not Audience.LINK]
    by_name = {session.name: session for session in sessions}
    presents = {
        session.name: Present(session, tuple(named.url for named in stored if named.session == session.full_name))
        for session in sessions
        if deployment_of(session) == deployment.name
    }
    _require_hosts(deployment, by_name, stored)
    steps = []
    for service in deployment.services:
        name = deployment.session_name(service.name)
        if name in by_name and name not in presents:
            raise AlreadyExists(
                f"service {service.name} needs the name of session {name}, which {_belonging(by_name[name])}: give the"
                " service or the deployment another name, or rename that session"
            )
        steps.append(_step(deployment, service, name, presents.pop(name, None)))
    steps += [_removal(present) for present in presents.values()]
    return Plan(deployment.name, tuple(steps), _revision(deployment, steps))


def _require_hosts(deployment: Deployment, sessions: Mapping[str, Session], stored: Iterable[NamedUrl]) -> None:
    """Raises AlreadyExists if another session of the owner is served at a host of the deployment."""
    hosts = {named.url.own_host: sessions.get(named.session.name) for named in stored}
    for service in deployment.services:
        host, holder = service.route.host, hosts.get(service.route.host)
        if host and holder is not None and holder.name != deployment.session_name(service.name):
            raise AlreadyExists(
                f"service {service.name} cannot be served at {host}: session {holder.name}, which "
                f"{_belonging(holder)}, is served there; end that with netvps url rm {holder.name} {host}"
            )


def _belonging(session: Session) -> str:
    found = deployment_of(session)
    return f"belongs to deployment {found}" if found else "belongs to no deployment"


def _step(deployment: Deployment, service: Service, name: str, present: Present | None) -> Step:
    if present is None:
        wanted = deployment.spec_of(service)
        routes = (f"route: {route_words(service)}",) if service.route.is_stored else ()
        return Step(Action.CREATE, name, (f"image: {service.image}", *_limits(wanted), *routes), service)
    now = present.session.spec
    wanted = wanted_spec(deployment, service, now)
    replaced = _replaced(now, wanted)
    changes = (*replaced, *_changed(now, wanted), *_rerouted(service, present))
    if present.session.state is SessionState.FAILED and not replaced:
        replaced = (f"state: it failed ({present.session.message or present.session.reason})",)
        changes = (*replaced, *changes)
    action = Action.REPLACE if replaced else Action.CHANGE if changes else Action.KEEP
    return Step(action, name, changes, service, present)


def _removal(present: Present) -> Step:
    return Step(Action.REMOVE, present.session.name, ("its files and its routes",), None, present)


def _replaced(now: SessionSpec, wanted: SessionSpec) -> tuple[str, ...]:
    """What needs another container."""
    words = []
    if now.image != wanted.image:
        words.append(f"image: {now.image} → {wanted.image}")
    if now.command != wanted.command or not now.run_entrypoint:
        words.append("command: another one")
    words += [f"environment: {name} is new" for name in wanted.env if name not in now.env]
    words += [
        f"environment: {name} changes" for name in wanted.env if now.env.get(name, wanted.env[name]) != wanted.env[name]
    ]
    words += [f"environment: {name} goes" for name in now.env if name not in wanted.env]
    return tuple(words)


def _changed(now: SessionSpec, wanted: SessionSpec) -> tuple[str, ...]:
    """What changes without another container."""
    words = []
    if now.cpus != wanted.cpus:
        words.append(f"cpus: {_cpus(now)} → {_cpus(wanted)}")
    if now.memory_bytes != wanted.memory_bytes:
        words.append(f"memory: {_memory(now)} → {_memory(wanted)}")
    if now.labels != wanted.labels:
        words.append(f"port: {now.labels.get(PORT_LABEL, '0')} → {wanted.labels[PORT_LABEL]}")
    if now.sleep != wanted.sleep:
        words.append(f"idle_timeout: {_idle(now)} → {_idle(wanted)}")
    return tuple(words)


def wanted_url(service: Service) -> tuple[str, int, Route] | None:
    """The id, the port and the route of the URL that is stored for a service; None if none is."""
    route = service.route
    return (route.host or str(service.port), service.port, route) if route.is_stored else None


def is_served(url: StoredUrl, service: Service) -> bool:
    """Whether a stored URL is what a service wants."""
    wanted = wanted_url(service)
    return wanted is not None and _same(url, wanted)


def _same(url: StoredUrl, wanted: tuple[str, int, Route]) -> bool:
    id_, port, route = wanted
    found = (url.id, url.port, url.audience, tuple(sorted(url.users)), url.expire_time)
    return found == (id_, port, route.audience, tuple(sorted(route.users)), None)


def _rerouted(service: Service, present: Present) -> list[str]:
    wanted = wanted_url(service)
    words = [f"route: {url.id} goes" for url in present.urls if wanted is None or url.id != wanted[0]]
    if wanted and not any(_same(url, wanted) for url in present.urls):
        words.append(f"route: {route_words(service)}")
    return words


def route_words(service: Service) -> str:
    """Where a service is served, and to whom."""
    route = service.route
    who = " ".join(route.users) or route.audience.lower()
    return f"{route.host or 'its own URL'} → port {service.port} ({who})"


def _limits(spec: SessionSpec) -> list[str]:
    words = [f"cpus: {_cpus(spec)}"] if spec.cpus else []
    return words + ([f"memory: {_memory(spec)}"] if spec.memory_bytes else [])


def _cpus(spec: SessionSpec) -> str:
    return f"{spec.cpus:g}" if spec.cpus else "no limit"


def _memory(spec: SessionSpec) -> str:
    return bytes_words(spec.memory_bytes) if spec.memory_bytes else "no limit"


def _idle(spec: SessionSpec) -> str:
    after = spec.sleep.stop_after
    return "the server's default" if after is None else f"{after:g} s" if after else "never"


def _revision(deployment: Deployment, steps: Sequence[Step]) -> str:
    """A digest of what the deployment wants, and of what it touches; of environments, the names only."""
    parts: list[object] = [deployment.name]
    for service in deployment.services:
        parts.append((service.name, service.image, service.command, sorted(service.env), service.cpus))
        parts.append((service.memory_bytes, service.port, service.route, service.idle_timeout))
    for step in steps:
        parts.append((step.action, step.session, step.changes))
        if step.present:
            now = step.present.session
            parts.append((now.uid, now.spec.image, now.spec.command, sorted(now.spec.env)))
            parts.append([sorted(now.spec.labels.items()), now.spec.cpus, now.spec.memory_bytes, now.spec.sleep])
            parts += sorted((url.id, url.port, url.audience, url.users) for url in step.present.urls)
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
