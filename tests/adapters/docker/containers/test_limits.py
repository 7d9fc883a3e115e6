"""Limits as Docker stores them, and the request that changes them."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import docker.errors
import pytest
import requests

from netvps.adapters.docker.containers.limits import limits_of, update
from netvps.domain.session.limits import Limits


def api(status: int = 200) -> Mock:
    answer = requests.Response()
    answer.status_code = status
    answer._content = b'{"message": "Minimum memory limit allowed is 6MB"}'
    found = {"State": {"Pid": 0}}
    return Mock(
        base_url="http+docker://localhost",
        api_version="1.41",
        inspect_container=Mock(return_value=found),
        post=Mock(return_value=answer),
    )


@pytest.mark.parametrize(
    ("config", "limits"),
    [
        ({"NanoCpus": 500_000_000, "Memory": 1 << 30, "PidsLimit": 64}, Limits(0.5, 1 << 30, 64)),
        ({"NanoCpus": 0, "Memory": 0, "PidsLimit": None}, Limits()),
        ({"NanoCpus": 0, "Memory": -1, "PidsLimit": -1}, Limits()),
        ({}, Limits()),
    ],
)
def test_limits_of_a_container(config: dict[str, Any], limits: Limits) -> None:
    assert limits_of({"HostConfig": config}) == limits


def test_only_what_changes_is_sent() -> None:
    engine = api()
    update(engine, "c1", Limits(memory_bytes=1 << 30))
    (url,), options = engine.post.call_args
    assert url == "http+docker://localhost/v1.41/containers/c1/update"
    assert options["json"] == {"Memory": 1 << 30, "MemorySwap": 1 << 30}
    update(engine, "c1", Limits(cpus=0.5, pids=64))
    assert engine.post.call_args.kwargs["json"] == {"NanoCpus": 500_000_000, "PidsLimit": 64}


def test_a_refusal_of_docker_is_one_of_its_errors() -> None:
    with pytest.raises(docker.errors.APIError, match="Minimum memory limit"):
        update(api(409), "c1", Limits(memory_bytes=1))
