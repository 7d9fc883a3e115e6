"""What a deployment file declares: services, and the sessions that they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from netvps.domain.http.site import MAX_PORT
from netvps.domain.http.stored import Audience
from netvps.domain.session.spec import SessionSpec
from netvps.domain.sleep.policy import SleepPolicy

if TYPE_CHECKING:
    from netvps.domain.session.session import Session

DEPLOYMENT_LABEL: Final = "netvps/deployment"
SERVICE_LABEL: Final = "netvps/service"
PORT_LABEL: Final = "netvps/port"
"""Labels of the sessions that are services."""
NAMES_MAX: Final = 32
"""Characters of the names of a deployment and a service together, so that a session can have both and a number."""
DEFAULT_HEALTH_TIMEOUT: Final = 60.0


@dataclass(frozen=True, slots=True)
class Route:
    """Where a service is served besides the URL of its port, and to whom."""

    host: str = ""
    """A host of its own; '': that of its port."""
    audience: Audience = Audience.PRIVATE
    users: tuple[str, ...] = ()

    @property
    def is_stored(self) -> bool:
        """Whether it is more than what each port of each session has."""
        return bool(self.host) or self.audience is not Audience.PRIVATE


@dataclass(frozen=True, slots=True)
class Service:
    """One container of a deployment. Times are in seconds."""

    name: str
    image: str
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    cpus: float = 0.0
    memory_bytes: int = 0
    port: int = 0
    """Where it listens; 0: nowhere."""
    route: Route = Route()
    idle_timeout: float | None = None
    """As SleepPolicy.stop_after."""
    health_path: str = ""
    """What answers GET with a status below 400 once it is ready; '': it is ready once its port accepts."""
    health_timeout: float = DEFAULT_HEALTH_TIMEOUT


@dataclass(frozen=True, slots=True)
class Deployment:
    """The services of one file, in its order."""

    name: str
    services: tuple[Service, ...]

    def session_name(self, service: str) -> str:
        """NAME of the session that is a service."""
        return f"{self.name}-{service}"

    def spec_of(self, service: Service) -> SessionSpec:
        """The spec of the session that is a service. Raises InvalidInput."""
        idle = service.idle_timeout
        return SessionSpec(
            image=service.image,
            cpus=service.cpus,
            memory_bytes=service.memory_bytes,
            env=dict(service.env),
            run_entrypoint=True,
            command=service.command,
            labels={DEPLOYMENT_LABEL: self.name, SERVICE_LABEL: service.name, PORT_LABEL: str(service.port)},
            sleep=SleepPolicy() if idle is None else SleepPolicy(pause_after=0.0, stop_after=idle),
        )


def deployment_of(session: Session) -> str:
    """The deployment that a session belongs to; '' for none."""
    return session.spec.labels.get(DEPLOYMENT_LABEL, "")


def service_of(session: Session) -> str:
    """The service that a session is; '' for none."""
    return session.spec.labels.get(SERVICE_LABEL, "")


def port_of(session: Session) -> int:
    """The port at which a service listens; 0 for none."""
    text = session.spec.labels.get(PORT_LABEL, "")
    return int(text) if text.isdecimal() and int(text) <= MAX_PORT else 0
