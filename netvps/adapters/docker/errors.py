"""Errors of the Docker side, and the one place where the library's become ours.

    DockerError
    ├── EngineAway              (Unavailable)    the engine does not run, or the connection broke
    ├── EngineUnusable          (ConfigError)    it is not installed, or its socket is not ours to use
    ├── EngineSlow              (TimedOut)       no answer in time
    ├── ContainerNotFound       (NotFound)
    ├── ContainerNameTaken      (AlreadyExists)  by something that is not ours
    ├── ContainerCreationFailed (WrongState)
    ├── ContainerFailed         (WrongState)     start, signal, removal
    ├── VolumeMissing           (WrongState)     one that a session had is gone
    ├── ImageNotFound           (NotFound)       there is none of this name, here or in its registry
    ├── ImageForbidden          (NotPermitted)   its registry wants a login
    ├── RegistryAway            (Unavailable)    its registry cannot be reached
    ├── ImageExportFailed       (WrongState)
    ├── ImageImportFailed       (WrongState)
    ├── ImageBuildFailed        (WrongState)
    ├── DiskFull                (Exhausted)
    ├── NetworkUnavailable      (Exhausted)      no subnet for an owner's network
    └── OverlayAway             (Unavailable)    its network is not there yet, or not with the subnet of an address

Each has one class of netvps.errors as its other parent, and so one gRPC code.
"""

from __future__ import annotations

import docker.errors
import requests.exceptions
import urllib3.exceptions

from netvps import errors
from netvps.domain.container import ENGINE_AWAY, OVERLAY_AWAY


class DockerError(errors.NetvpsError):
    """Root of what can go wrong with the container engine."""


class EngineAway(DockerError, errors.Unavailable):
    """The engine does not run, or the connection to it broke; says nothing about any container."""

    default_reason = ENGINE_AWAY


class EngineUnusable(DockerError, errors.ConfigError):
    """It is not installed, or its socket is not ours to use."""

    default_reason = "ENGINE_UNUSABLE"


class EngineSlow(DockerError, errors.TimedOut):
    """No answer in time."""

    default_reason = "ENGINE_SLOW"


class VolumeMissing(DockerError, errors.WrongState):
    """A volume that a session had is gone: its files are not replaced by an empty one."""

    default_reason = "VOLUME"


class ContainerNotFound(DockerError, errors.NotFound):
    """There is no such container (or network, or volume)."""

    default_reason = "CONTAINER_NOT_FOUND"


class ContainerNameTaken(DockerError, errors.AlreadyExists):
    """Something that is not ours has the name."""

    default_reason = "CONTAINER_NAME_TAKEN"


class ContainerCreationFailed(DockerError, errors.WrongState):
    """The engine did not make the container."""

    default_reason = "CONTAINER_CREATION"


class ContainerFailed(DockerError, errors.WrongState):
    """The engine did not start, signal or remove the container."""

    default_reason = "CONTAINER"


class ImageNotFound(DockerError, errors.NotFound):
    """There is no image of this name."""

    default_reason = "IMAGE_NOT_FOUND"


class ImageForbidden(DockerError, errors.NotPermitted):
    """Its registry wants a login."""

    default_reason = "IMAGE_FORBIDDEN"


class RegistryAway(DockerError, errors.Unavailable):
    """Its registry cannot be reached."""

    default_reason = "REGISTRY_AWAY"


class ImageExportFailed(DockerError, errors.WrongState):
    """A container's file system could not be made an image."""

    default_reason = "IMAGE_EXPORT"


class ImageImportFailed(DockerError, errors.WrongState):
    """An archive could not be made an image."""

    default_reason = "IMAGE_IMPORT"


class ImageBuildFailed(DockerError, errors.WrongState):
    """An environment could not be built."""

    default_reason = "IMAGE_BUILD"


class DiskFull(DockerError, errors.Exhausted):
    """The disk of Docker's folder is full, or would be."""

    default_reason = "DISK_FULL"


class NetworkUnavailable(DockerError, errors.Exhausted):
    """There is no subnet for the network of sessions."""

    default_reason = "NETWORK"


class OverlayAway(DockerError, errors.Unavailable):
    """The overlay's network is not there yet, or not with the subnet of a session's address."""

    default_reason = OVERLAY_AWAY


_LIBRARY = (docker.errors.DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError)
LIBRARY_ERRORS = (*_LIBRARY, ValueError)
"""What calls of the Docker library raise. ValueError: an answer cut short is not JSON any more."""

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
_UNKNOWN = ("not found", "manifest unknown", "does not exist", "no such image", "denied")


def explanation(error: BaseException) -> str:
    """What the engine said, on one line."""
    said = getattr(error, "explanation", None) or str(error)
    if isinstance(said, bytes):
        said = said.decode(errors="replace")
    return " ".join(str(said).split())[:500]


def _cause(error: BaseException) -> str:
    """What the system said, from within the library's errors, which hold one another as arguments; on one line."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = next((one for one in reversed(inner.args) if isinstance(one, BaseException)), None)
    return explanation(error)


def mapped(error: Exception, subject: str, otherwise: type[DockerError] = ContainerFailed) -> DockerError:
    """Our error for one of the library's; `subject` is what the call was for, `otherwise` the class for the rest."""
    said = explanation(error)
    if isinstance(error, requests.exceptions.Timeout | TimeoutError | urllib3.exceptions.TimeoutError):
        return EngineSlow(f"{subject}: Docker did not answer in time; see whether the machine is overloaded")
    if isinstance(error, docker.errors.APIError):
        return _answered(error, said, subject, otherwise)
    if "permission denied" in said.lower():
        return EngineUnusable(
            "permission denied on Docker's socket: add yourself to the docker group "
            "(sudo usermod -aG docker $USER, then log in again), or run as root"
        )
    return EngineAway(
        f"{subject}: Docker does not answer ({_cause(error)}); see whether it runs (systemctl status docker)"
    )


def _answered(  # noqa: PLR0911 — a table
    error: docker.errors.APIError, said: str, subject: str, otherwise: type[DockerError]
) -> DockerError:  # fmt: skip
    low = said.lower()
    if "no space left" in low or "disk quota exceeded" in low:
        return DiskFull(f"{subject}: the disk of Docker's folder is full; free some space (docker system df)")
    if "overlaps" in low or "non-overlapping" in low:
        return NetworkUnavailable(f"{subject}: another network of this machine has these addresses ({said})")
    if error.status_code == _HTTP_CONFLICT and "is already in use" in low:
        return ContainerNameTaken(f"{subject}: the name is taken by another container; remove that one ({said})")
    if isinstance(error, docker.errors.ImageNotFound):
        return ImageNotFound(f"{subject}: there is no such image on this machine ({said})")
    if isinstance(error, docker.errors.NotFound):
        return ContainerNotFound(f"{subject}: not found ({said})")
    if "is shutting down" in low or ("containerd" in low and "connection" in low):
        return EngineAway(f"{subject}: Docker is just ending ({said})")
    return otherwise(f"{subject}: Docker refused: {said}")


def pull_failure(reference: str, said: str) -> DockerError:
    """Why a pull failed, by what the engine said: its classes are in words only."""
    low = said.lower()
    if "no space left" in low:
        return DiskFull(
            f"image {reference} does not fit: the disk of Docker's folder is full; free some space (docker system df)"
        )
    if any(word in low for word in _FORBIDDEN):
        return ImageForbidden(f"image {reference}: its registry wants a login; run docker login on the runner ({said})")
    if any(word in low for word in _UNREACHABLE):
        return RegistryAway(f"image {reference}: its registry cannot be reached from the runner; retry later ({said})")
    if any(word in low for word in _UNKNOWN):
        return ImageNotFound(
            f"image {reference} is neither on this machine nor in its registry, or that needs a login; "
            "check the name, or make it (`netvps env bootstrap NAME`)"
        )
    return RegistryAway(f"image {reference} could not be pulled: {said}")
