"""The schema of a deployment file. docs/deployment.schema.json is made from it (`netvps deploy schema`)."""

from __future__ import annotations

from typing import Annotated, Any, Final

import click
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from netvps.cli.http.stored import HostName
from netvps.cli.ui.parse import DURATION
from netvps.display.units import parse_size
from netvps.domain.http.site import is_host

NEVER: Final = "never"


def _seconds(value: Any) -> Any:
    try:
        return DURATION.convert(value, None, None)
    except click.BadParameter as error:
        raise ValueError(error.message) from None


def _idle_seconds(value: Any) -> Any:
    return 0.0 if value == NEVER else _seconds(value)


def _host(value: Any) -> Any:
    try:
        host = HostName().convert(value, None, None)
    except click.BadParameter as error:
        raise ValueError(error.message) from None
    if not is_host(host) or "." not in host:
        raise ValueError(f"{value!r} is no name of a host: give for example shop.example")
    return host


def _size(value: Any) -> Any:
    return parse_size(str(value))


_TEXT: Final = {"type": ["string", "number"]}
Size = Annotated[int, BeforeValidator(_size), WithJsonSchema(_TEXT | {"examples": ["512M", "2G"]})]
Seconds = Annotated[float, BeforeValidator(_seconds), WithJsonSchema(_TEXT | {"examples": ["30s", "10m"]})]
IdleSeconds = Annotated[float, BeforeValidator(_idle_seconds), WithJsonSchema(_TEXT | {"examples": ["30m", NEVER]})]
Environment = Annotated[
    dict[str, str],
    WithJsonSchema({"type": "object", "additionalProperties": _TEXT, "propertyNames": {"type": "string"}}),
]
Host = Annotated[str, BeforeValidator(_host)]
Label = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=30)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class RouteFields(_Part):
    """Where the service is served besides the URL of its port, and to whom; one of public, members and share."""

    host: Host = Field(
        default="", description="A host of its own, which leads to the server; without it, the URL of the port."
    )
    public: bool = Field(default=False, description="Anyone may open it.")
    members: bool = Field(default=False, description="Every user who is logged in may open it.")
    share: list[str] = Field(default=[], description="These users may open it.")


class HealthFields(_Part):
    """When a new container takes the place of the old one."""

    path: str = Field(
        default="", pattern=r"^/[!-~]*$", description="Answers GET with a status below 400 once it is ready."
    )
    timeout: Seconds = Field(default=60.0, ge=1, le=3600, description="After which the old container stays.")


class ServiceFields(_Part):
    """A container."""

    image: str = Field(description="Docker image, for example nginx:1.29.")
    command: list[str] = Field(
        default=[], description="Arguments in place of the image's command, after its entrypoint."
    )
    environment: Environment = Field(
        default={}, description="Variables; KEY_FILE is a file here whose content KEY gets."
    )
    memory: Size = Field(default=0, description="Limit of memory, for example 512M; without it there is none.")
    cpus: float = Field(default=0.0, description="Limit of CPUs, for example 1.5; without it there is none.")
    port: int = Field(default=0, ge=0, le=65_535, description="Where it listens, for its URL and for health.")
    route: RouteFields = Field(default_factory=RouteFields, description="Where it is served, and to whom.")
    idle_timeout: IdleSeconds | None = Field(
        default=None, description="Stop it after this time without requests; or never."
    )
    health: HealthFields = Field(default_factory=HealthFields, description="When it is ready.")


class DeploymentFields(_Part):
    """A netvps deployment file."""

    deployment: Label = Field(description="Its name, which the names of its sessions begin with.")
    services: dict[Label, ServiceFields] = Field(min_length=1, max_length=50, description="Its containers, by name.")


def json_schema() -> dict[str, Any]:
    """The schema for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | DeploymentFields.model_json_schema()
