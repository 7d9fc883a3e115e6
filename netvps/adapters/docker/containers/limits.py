"""Reads and changes the limits of a container."""

from __future__ import annotations

from typing import Any, Final

import docker.errors
import requests.exceptions

from netvps.adapters.cgroup import cgroup_of, pids, usage
from netvps.adapters.docker.client import CALL_SECONDS, Answer, Api
from netvps.adapters.docker.errors import DoesNotFit
from netvps.domain.session.limits import Limits, bytes_words

_NANO: Final = 1_000_000_000


def limits_of(found: Answer) -> Limits:
    """The limits of an inspected container; 0 where it has none."""
    config = found.get("HostConfig") or {}
    return Limits(
        int(config.get("NanoCpus") or 0) / _NANO,
        max(0, int(config.get("Memory") or 0)),
        max(0, int(config.get("PidsLimit") or 0)),
    )


def update(api: Api, container_id: str, to: Limits) -> None:
    """Changes limits; 0 leaves one unchanged. Docker cannot lift one: no limit is given as what the machine has.

    Raises DoesNotFit, with figures, if the processes in the container use more.
    """
    pid = int(api.inspect_container(container_id)["State"].get("Pid") or 0)
    _require_room(pid, to)
    _post(api, container_id, {
        "NanoCpus": round(to.cpus * _NANO),
        "Memory": to.memory_bytes,
        "MemorySwap": to.memory_bytes,  # equal, so that there is no swap in addition
        "PidsLimit": to.pids,
    })  # fmt: skip


def _require_room(pid: int, to: Limits) -> None:
    """On cgroup version 2 the kernel would kill processes until the rest fits."""
    cgroup = (cgroup_of(pid) if pid else None) or ""
    used, running = usage(cgroup), pids(cgroup)
    if to.memory_bytes and used and used.memory_bytes > to.memory_bytes:
        raise DoesNotFit(
            f"{bytes_words(used.memory_bytes)} of memory are in use, more than the new limit of "
            f"{bytes_words(to.memory_bytes)}; end programs inside, or ask for more"
        )
    if to.pids and running and running > to.pids:
        raise DoesNotFit(
            f"{running} processes and threads are running, more than the new limit of {to.pids}; end some inside, or "
            "ask for more"
        )


def _post(api: Api, container_id: str, changes: dict[str, Any]) -> None:
    """The library's update_container knows neither NanoCpus nor PidsLimit."""
    url = f"{api.base_url}/v{api.api_version}/containers/{container_id}/update"
    answer = api.post(url, json={name: value for name, value in changes.items() if value}, timeout=CALL_SECONDS)
    try:
        answer.raise_for_status()
    except requests.exceptions.HTTPError as error:
        docker.errors.create_api_error_from_http_exception(error)
