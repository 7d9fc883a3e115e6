"""The library's errors become ours, with a remedy."""

from __future__ import annotations

from pathlib import Path

import docker.errors
import pytest
import requests
import requests.exceptions
import urllib3.exceptions

from netvps import errors as base
from netvps.adapters.docker import errors
from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.errors import DockerError, mapped, pull_failure


def refusal(status: int, said: str) -> docker.errors.APIError:
    response = requests.Response()
    response.status_code = status
    kind = docker.errors.NotFound if status == 404 else docker.errors.APIError
    return kind("refused", response=response, explanation=said)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refusal(500, "write /x: no space left on device"), errors.DiskFull),
        (refusal(403, "Pool overlaps with other one on this address space"), errors.NetworkUnavailable),
        (refusal(409, 'Conflict. The container name "/x" is already in use by container'), errors.ContainerNameTaken),
        (refusal(404, "No such container: x"), errors.ContainerNotFound),
        (refusal(500, "OCI runtime create failed"), errors.ContainerFailed),
        (requests.exceptions.ReadTimeout("read timed out"), errors.EngineSlow),
        (requests.exceptions.ConnectionError("RemoteDisconnected"), errors.EngineUnavailable),
        (docker.errors.DockerException("PermissionError(13, 'Permission denied')"), errors.EngineUnusable),
    ],
)
def test_each_has_its_class(error: Exception, kind: type[DockerError]) -> None:
    ours = mapped(error, "container x")
    assert type(ours) is kind
    assert "\n" not in ours.message


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("manifest for x:1 not found: manifest unknown", errors.ImageNotFound),
        ("pull access denied for x, repository does not exist or may require 'docker login'", errors.ImageNotFound),
        ("Get https://r/v2/: unauthorized: authentication required", errors.ImageForbidden),
        ("Get https://r/v2/: dial tcp: lookup r: no such host", errors.RegistryUnavailable),
        ("Get https://r/v2/: net/http: TLS handshake timeout", errors.RegistryUnavailable),
        ("write /x: no space left on device", errors.DiskFull),
    ],
)
def test_a_failed_pull_says_why(said: str, kind: type[DockerError]) -> None:
    assert type(pull_failure("x:1", said)) is kind


@pytest.mark.parametrize(
    "kind", [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, DockerError)]
)
def test_each_is_one_of_our_classes(kind: type[DockerError]) -> None:
    if kind is DockerError:
        return
    parents = [
        parent for parent in kind.__mro__ if parent.__module__ == base.__name__ and parent is not base.NetvpsError
    ]
    assert len(parents) == 1


def test_an_unavailable_engine_is_reported_in_the_systems_words() -> None:
    inner = urllib3.exceptions.ProtocolError("Connection aborted.", ConnectionRefusedError(111, "Connection refused"))
    ours = mapped(requests.exceptions.ConnectionError(inner), "events")
    assert ours.message == (
        "events: Docker does not answer (Connection refused); check whether it runs (systemctl status docker)"
    )


async def test_an_engine_that_does_not_run_is_reported(tmp_path: Path) -> None:
    with pytest.raises(errors.EngineUnavailable, match="does not answer"):
        await Docker.open(f"unix://{tmp_path}/no.sock")
