"""Reads a deployment file: YAML, variables, overrides and secrets from files; says in which line what is wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from netvps.cli.deploy.document import MAX_BYTES, Document, read_document
from netvps.cli.deploy.schema import DeploymentFields, HealthFields, RouteFields, ServiceFields
from netvps.cli.ui.usage import did_you_mean
from netvps.domain.deployment.service import NAMES_MAX, Deployment, Route, Service
from netvps.domain.http.stored import Audience
from netvps.errors import InvalidInput, Violation
from netvps.settings.programs import SERVICE_PREFIX
from netvps.settings.secret_files import read_secret

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_FILE: Final = "deployment.yaml"
OVERRIDDEN: Final = ("image", "memory", "cpus", "port", "idle_timeout")
"""Fields of a service that a variable may override."""
_FILE: Final = "_FILE"
_FIELDS: Final = {"env": "environment", "memory_bytes": "memory", "stop_after": "idle_timeout"}
"""Field of a session's spec → that of the file."""
_OTHERS: Final = {
    "build": "build an image first, with netvps env build NAME DIR, and name it with image",
    "container_name": "the session is called DEPLOYMENT-SERVICE",
    "cpu": "it is called cpus",
    "entrypoint": "the image's own is run, with command after it",
    "env": "it is called environment",
    "env_file": "write ${VAR} for a variable, and KEY_FILE for a secret",
    "healthcheck": "it is called health, and has a path and a timeout",
    "mem_limit": "it is called memory",
    "ports": "it is called port, and has one number",
    "restart": "a service is always started again",
    "volumes": "a session has none: its files go with its container, so keep what must stay outside of it",
}
"""What files of other programs have → what to write here."""


def read_deployment(path: str, environ: Mapping[str, str] = os.environ) -> Deployment:
    """The deployment that a file declares. Raises InvalidInput with all that is wrong, each with its line."""
    document = read_document(_read(path), path, environ)
    _override(document, environ)
    try:
        fields = DeploymentFields.model_validate(document.value)
    except ValidationError as error:
        raise InvalidInput(*(_violation(document, dict(item)) for item in error.errors(include_url=False))) from None
    violations: list[Violation] = []
    services = [
        _service(document, name, service, Path(path).parent, violations) for name, service in fields.services.items()
    ]
    deployment = Deployment(fields.deployment, tuple(services))
    for service in services:
        _check(document, deployment, service, violations)
    if violations:
        raise InvalidInput(*violations)
    return deployment


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as opened:
            content = opened.read(MAX_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise InvalidInput.of(path, f"it cannot be read ({error.strerror}): name a deployment file with -f") from None
    except UnicodeDecodeError:
        raise InvalidInput.of(path, "it is not UTF-8 text: name a deployment file with -f") from None
    if len(content) > MAX_BYTES:
        raise InvalidInput.of(path, f"it is larger than {MAX_BYTES >> 10} KiB: name a deployment file with -f")
    return text


def _override(document: Document, environ: Mapping[str, str]) -> None:
    """Takes NETVPS_SERVICE_<NAME>_<KEY> in place of what the file has. Raises InvalidInput."""
    services = document.value.get("services") if isinstance(document.value, dict) else None
    if not isinstance(services, dict):
        return  # the schema says so
    names = {name.upper().replace("-", "_"): name for name in services}
    for variable in sorted(environ):
        if not variable.startswith(SERVICE_PREFIX):
            continue
        rest = variable.removeprefix(SERVICE_PREFIX)
        word = max((name for name in names if rest.startswith(f"{name}_")), key=len, default="")
        key = rest.removeprefix(f"{word}_").lower()
        if not word or key not in OVERRIDDEN or not isinstance(services[names[word]], dict):
            known = [f"{SERVICE_PREFIX}{name}_{field.upper()}" for name in names for field in OVERRIDDEN]
            hint = did_you_mean(variable, known) or f"; known are {', '.join(sorted(known)[:5])}, …"
            raise InvalidInput.of(
                f"environment {variable}", f"this overrides nothing of {document.file}: unset it{hint}"
            )
        services[names[word]][key] = environ[variable]
        document.lines["services", names[word], key] = f"environment {variable}"


def _violation(document: Document, item: Mapping[str, Any]) -> Violation:
    """What pydantic found, in the words of this file."""
    loc = tuple(str(part) for part in item["loc"] if part != "[key]")
    kind, name = item["type"], loc[-1] if loc else ""
    if kind == "extra_forbidden":
        hint = f": {_OTHERS[name]}" if name in _OTHERS else did_you_mean(name, _keys(loc)).replace("; ", ": ", 1)
        return document.violation(loc, f"unknown key{hint or ': known are ' + ', '.join(_keys(loc))}")
    if kind == "missing":
        return document.violation(loc, "it is missing: give it")
    return document.violation(loc, _rule(item))


def _rule(item: Mapping[str, Any]) -> str:
    words = {
        "list_type": "write a list, for example [serve, --port, '8080']",
        "dict_type": "write keys and values below it",
        "model_type": "write keys and values below it",
        "model_attributes_type": "write keys and values below it",
        "string_type": "write text, in quotes if it is true, false or empty",
        "int_parsing": "write a whole number",
        "float_parsing": "write a number, for example 1.5",
        "bool_type": "write true or false",
        "bool_parsing": "write true or false",
    }
    message = str(item["msg"]).removeprefix("Value error, ")
    if item["type"] == "string_pattern_mismatch":
        path = str(item["loc"][-1]) == "path"
        message = "write a path, for example /healthz" if path else "a name is of a-z, 0-9 and '-', for example web"
    return words.get(item["type"], message[:1].lower() + message[1:])


def _keys(loc: tuple[str, ...]) -> list[str]:
    """The keys that are known where an unknown one is."""
    models: dict[int, Any] = {1: DeploymentFields, 3: ServiceFields}
    model = models.get(len(loc)) or (RouteFields if loc[-2] == "route" else HealthFields)
    return [*model.model_fields]


def _service(
    document: Document, name: str, fields: ServiceFields, folder: Path, violations: list[Violation]
) -> Service:
    path, route = ("services", name), fields.route
    if route.public + route.members + bool(route.share) > 1:
        violations.append(
            document.violation((*path, "route"), "public, members and share exclude each other: give one")
        )
    audience = Audience.PUBLIC if route.public else Audience.MEMBERS if route.members else Audience.PRIVATE
    found = Route(route.host, Audience.USERS if route.share else audience, tuple(route.share))
    if not fields.port and (found.is_stored or fields.health.path):
        needs = "route" if found.is_stored else "health"
        violations.append(document.violation((*path, needs), "it needs the port where the service listens: give port"))
    return Service(
        name,
        fields.image,
        tuple(fields.command),
        _environment(document, (*path, "environment"), fields.environment, folder, violations),
        fields.cpus,
        fields.memory,
        fields.port,
        found,
        fields.idle_timeout,
        fields.health.path,
        fields.health.timeout,
    )


def _environment(
    document: Document, path: tuple[str, ...], given: Mapping[str, str], folder: Path, violations: list[Violation]
) -> dict[str, str]:
    """The variables; KEY_FILE gives KEY the content of a file, which is named from the folder of the deployment's."""
    found: dict[str, str] = {}
    for name, value in given.items():
        key = name.removesuffix(_FILE)
        if key != name and key in given:
            violations.append(document.violation((*path, name), f"{key} is given, too: give one of them"))
        elif key == name or not key:
            found[name] = value
        else:
            try:
                found[key] = read_secret(folder / value, "the file")
            except ValueError as error:
                violations.append(document.violation((*path, name), f"{error}; {key} gets the content of that file"))
    return found


def _check(document: Document, deployment: Deployment, service: Service, violations: list[Violation]) -> None:
    """Adds what a session may not have."""
    path = ("services", service.name)
    if len(deployment.name) + len(service.name) > NAMES_MAX:
        violations.append(
            document.violation(
                path, f"the names of deployment and service have more than {NAMES_MAX} characters together"
            )
        )
    try:
        deployment.spec_of(service).require_size()
    except InvalidInput as error:
        for one in error.violations:
            field, bracket, rest = one.field.partition("[")
            inner = (rest.rstrip("]").strip("'"),) if bracket else ()
            violations.append(document.violation((*path, _FIELDS.get(field, field), *inner), one.description))
