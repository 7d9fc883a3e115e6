"""Docker errors, and the one place where the library's errors are mapped to them.

    DockerError
    ├── EngineUnavailable              (Unavailable)    the engine does not run, or the connection broke
    ├── EngineUnusable          (ConfigError)    not installed, or no permission to use its socket
    ├── EngineSlow              (TimedOut)       no answer in time
    ├── ContainerNotFound       (NotFound)
    ├── ContainerNameTaken      (AlreadyExists)  by a container that is not this runner's
    ├── ContainerCreationFailed (WrongState)
    ├── ContainerFailed         (WrongState)     start, signal, removal
    ├── DoesNotFit              (Exhausted)      more is in use than a new limit
    ├── VolumeMissing           (WrongState)     a volume that a session had is gone
    ├── ImageNotFound           (NotFound)       neither on the machine nor in its registry
    ├── ImageForbidden          (NotPermitted)   the registry requires a login
    ├── ImageForOtherMachine    (WrongState)     made for another architecture
    ├── ImageInUse              (WrongState)     a container uses it
    ├── RegistryUnavailable            (Unavailable)    the registry cannot be reached
    ├── ImageExportFailed       (WrongState)
    ├── ImageImportFailed       (WrongState)
    ├── ImageBuildFailed        (WrongState)
    ├── DiskFull                (Exhausted)
    ├── NetworkUnavailable      (Exhausted)      no subnet for an owner's network
    └── OverlayUnavailable             (Unavailable)    its network does not exist yet, or lacks the address's subnet

Each class also inherits from one class of netvps.errors, which determines its gRPC status code.
"""

from __future__ import annotations

import docker.errors
import requests.exceptions
import urllib3.exceptions

from netvps import errors
from netvps.domain.session.container import ENGINE_AWAY, OVERLAY_AWAY


class DockerError(errors.NetvpsError):
    """Base class of errors of the container engine."""


class EngineUnavailable(DockerError, errors.Unavailable):
    """The engine does not run, or the connection to it broke; implies nothing about any container."""

    default_reason = ENGINE_AWAY


class EngineUnusable(DockerError, errors.ConfigError):
    """Docker is not installed, or this process may not use its socket."""

    default_reason = "ENGINE_UNUSABLE"


class EngineSlow(DockerError, errors.TimedOut):
    """The engine did not answer in time."""

    default_reason = "ENGINE_SLOW"


class VolumeMissing(DockerError, errors.WrongState):
    """A volume that a session had is gone; an empty one must not replace its files."""

    default_reason = "VOLUME"


class ContainerNotFound(DockerError, errors.NotFound):
    """There is no such container, network or volume."""

    default_reason = "CONTAINER_NOT_FOUND"


class ContainerNameTaken(DockerError, errors.AlreadyExists):
    """A container that is not this runner's has the name."""

    default_reason = "CONTAINER_NAME_TAKEN"


class ContainerCreationFailed(DockerError, errors.WrongState):
    """The engine did not create the container."""

    default_reason = "CONTAINER_CREATION"


class ContainerFailed(DockerError, errors.WrongState):
    """The engine did not start, signal or remove the container."""

    default_reason = "CONTAINER"


class DoesNotFit(DockerError, errors.Exhausted):
    """The processes of a container use more than its new limits allow."""

    default_reason = "DOES_NOT_FIT"


class ImageNotFound(DockerError, errors.NotFound):
    """There is no image of this name."""

    default_reason = "IMAGE_NOT_FOUND"


class ImageForbidden(DockerError, errors.NotPermitted):
    """The image's registry requires a login."""

    default_reason = "IMAGE_FORBIDDEN"


class ImageForOtherMachine(DockerError, errors.WrongState):
    """The image is for another architecture than the machine's."""

    default_reason = "IMAGE_ARCHITECTURE"


class ImageInUse(DockerError, errors.WrongState):
    """A container uses the image."""

    default_reason = "IMAGE_IN_USE"


class RegistryUnavailable(DockerError, errors.Unavailable):
    """The image's registry cannot be reached."""

    default_reason = "REGISTRY_AWAY"


class ImageExportFailed(DockerError, errors.WrongState):
    """A container's file system could not be exported as an image."""

    default_reason = "IMAGE_EXPORT"


class ImageImportFailed(DockerError, errors.WrongState):
    """An archive could not be imported as an image."""

    default_reason = "IMAGE_IMPORT"


class ImageBuildFailed(DockerError, errors.WrongState):
    """An environment could not be built."""

    default_reason = "IMAGE_BUILD"


class DiskFull(DockerError, errors.Exhausted):
    """The disk of Docker's data folder is full, or would be."""

    default_reason = "DISK_FULL"


class NetworkUnavailable(DockerError, errors.Exhausted):
    """No subnet is free for a network of sessions."""

    default_reason = "NETWORK"


class OverlayUnavailable(DockerError, errors.Unavailable):
    """The overlay's network does not exist yet, or does not have the subnet of a session's address."""

    default_reason = OVERLAY_AWAY


_LIBRARY = (docker.errors.DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError)
LIBRARY_ERRORS = (*_LIBRARY, ValueError)
"""Errors that calls of the Docker library raise. ValueError: a truncated answer is invalid JSON."""

_HTTP_CONFLICT = 409
_UNREACHABLE = (
    "dial tcp",
    "no such host",
    "connection refused",
    "timeout",
    "timed out",
    "deadline exceeded",
    "tls:",
    "x509",
    "proxyconnect",
    "network is unreachable",
    "connection reset",
    "eof",
    "server misbehaving",
    "toomanyrequests",
    "bad gateway",
    "service unavailable",
)
_FORBIDDEN = ("unauthorized", "authentication required", "no basic auth credentials", "access forbidden")
_OTHER_MACHINE = ("no matching manifest", "does not match the specified platform", "no match for platform")
_UNKNOWN = ("not found", "manifest unknown", "does not exist", "no such image", "denied")


_NOT_SET_UP = {
    "could not select device driver": (
        "Docker cannot give it GPUs; install the NVIDIA Container Toolkit on its runner, and restart Docker"
    ),
    "nvidia-container-cli": "NVIDIA's driver does not give it its GPUs; check it on its runner with nvidia-smi",
    "storage-opt is supported only": (
        "Docker's storage driver cannot limit its disk; see netvps runner show NAME, or ask for no limit"
    ),
}
"""Words of the engine about what its machine lacks, and the remedy."""


def explanation(error: BaseException) -> str:
    """Returns the engine's message, on one line."""
    message = getattr(error, "explanation", None) or str(error)
    if isinstance(message, bytes):
        message = message.decode(errors="replace")
    return " ".join(str(message).split())[:500]


def _cause(error: BaseException) -> str:
    """Returns the system's message, on one line; the library's errors nest the cause as an argument."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = next((one for one in reversed(inner.args) if isinstance(one, BaseException)), None)
    return explanation(error)


def mapped(error: Exception, subject: str, otherwise: type[DockerError] = ContainerFailed) -> DockerError:
    """Maps one of the library's errors; `subject` names the call's object, `otherwise` is the class for the rest."""
    said = explanation(error)
    if isinstance(error, requests.exceptions.Timeout | TimeoutError | urllib3.exceptions.TimeoutError):
        return EngineSlow(f"{subject}: Docker did not answer in time; check the machine's load (uptime)")
    if isinstance(error, docker.errors.APIError):
        return _answered(error, said, subject, otherwise)
    if "permission denied" in said.lower():
        return EngineUnusable(
            "permission denied on Docker's socket; add yourself to the docker group "
            "(sudo usermod -aG docker $USER, then log in again), or run as root"
        )
    return EngineUnavailable(
        f"{subject}: Docker does not answer ({_cause(error)}); check whether it runs (systemctl status docker)"
    )


def _answered(  # noqa: PLR0911 — one return per kind of error
    error: docker.errors.APIError, said: str, subject: str, otherwise: type[DockerError]
) -> DockerError:  # fmt: skip
    low = said.lower()
    if "no space left" in low or "disk quota exceeded" in low:
        return DiskFull(f"{subject}: the disk of Docker's folder is full; free space (docker system df)")
    if "overlaps" in low or "non-overlapping" in low:
        return NetworkUnavailable(f"{subject}: another network of this machine uses these addresses ({said})")
    if error.status_code == _HTTP_CONFLICT and "is already in use" in low:
        return ContainerNameTaken(f"{subject}: another container has the name; remove that one ({said})")
    if isinstance(error, docker.errors.ImageNotFound):
        return ImageNotFound(f"{subject}: there is no such image on this machine ({said})")
    if isinstance(error, docker.errors.NotFound):
        return ContainerNotFound(f"{subject}: not found ({said})")
    if "is shutting down" in low or ("containerd" in low and "connection" in low):
        return EngineUnavailable(f"{subject}: Docker is shutting down ({said})")
    for words, remedy in _NOT_SET_UP.items():
        if words in low:
            return otherwise(f"{subject}: {remedy} ({said})")
    return otherwise(f"{subject}: Docker refused: {said}")


def pull_failure(reference: str, said: str) -> DockerError:
    """Explains why a pull failed, from the engine's message: it has no error codes for that."""
    low = said.lower()
    if "no space left" in low:
        return DiskFull(
            f"image {reference} does not fit: the disk of Docker's folder is full; free space (docker system df)"
        )
    if any(word in low for word in _OTHER_MACHINE):
        return ImageForOtherMachine(
            f"image {reference} is not for this runner's architecture; name another image or tag ({said})"
        )
    if any(word in low for word in _FORBIDDEN):
        return ImageForbidden(
            f"image {reference}: its registry requires a login, or refuses the one that it has; an admin stores it with"
            f" netvps registry login HOST ({said})"
        )
    if any(word in low for word in _UNREACHABLE):
        return RegistryUnavailable(
            f"image {reference}: its registry cannot be reached from the runner; retry later ({said})"
        )
    if any(word in low for word in _UNKNOWN):
        return ImageNotFound(
            f"image {reference} is neither on this machine nor in its registry, or the registry requires a login; "
            "check the name, or build it (`netvps env bootstrap NAME`)"
        )
    return RegistryUnavailable(f"image {reference} could not be pulled: {said}")
