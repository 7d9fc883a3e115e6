"""Builds a container's host configuration from its blueprint, and reads parts of it back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from docker.types import DeviceRequest, LogConfig, Mount, Ulimit

from netvps.adapters.docker.client import Answer
from netvps.adapters.lxcfs import MOUNT
from netvps.domain.session.attachment import Net
from netvps.domain.session.blueprint import DROPPED_CAPABILITIES, Blueprint

_IPV6_LOOPBACK: Final = Path("/proc/sys/net/ipv6/conf/lo/disable_ipv6")
_NO_LIMIT: Final = 0
_NANO: Final = 1_000_000_000
_BYTES: Final = re.compile(r"\d{1,19}")


def host_config(plan: Blueprint, ipv6_loopback: Path = _IPV6_LOOPBACK) -> dict[str, Any]:
    """Builds the host configuration. no-new-privileges is not set: sudo and ping must work in a VPS.

    `ipv6_loopback` is the kernel's switch for ::1, which is missing where the machine has no IPv6.
    """
    config: dict[str, Any] = {
        "mounts": [
            *(Mount(bind.target, bind.source, type="bind", read_only=bind.read_only) for bind in plan.binds),
            *(Mount(v.target, v.name, type="volume", labels=plan.labels) for v in plan.volumes),
        ],
        "tmpfs": {t.target: f"size={t.size_bytes},nr_inodes={t.inodes},mode=0700" for t in plan.tmpfs},
        "shm_size": plan.shm_bytes,
        "cap_drop": list(DROPPED_CAPABILITIES),
        "pids_limit": plan.pids,
        "init": False,  # the agent is PID 1
        "restart_policy": {"Name": "no"},  # the runner restarts containers, as it knows why they ended
        "log_config": LogConfig(type=LogConfig.types.JSON, config={"max-size": f"{plan.log_mib}m", "max-file": "2"}),
    }
    if ipv6_loopback.exists():
        # Docker switches it off where its networks have no IPv6, and leaves "::1 localhost" in /etc/hosts.
        config["sysctls"] = {"net.ipv6.conf.lo.disable_ipv6": "0"}
    if plan.attachment.net is Net.NONE:
        config["extra_hosts"] = {plan.hostname: "127.0.1.1"}  # as on Debian; on other networks Docker adds the name
    if plan.open_files > _NO_LIMIT:
        config["ulimits"] = [Ulimit(name="nofile", soft=plan.open_files, hard=plan.open_files)]
    if plan.cpus > _NO_LIMIT:
        config["nano_cpus"] = round(plan.cpus * _NANO)
    if plan.memory_bytes > _NO_LIMIT:
        # Equal limits: no swap in addition to the memory limit.
        config |= {"mem_limit": plan.memory_bytes, "memswap_limit": plan.memory_bytes}
    if plan.disk_bytes > _NO_LIMIT:
        config["storage_opt"] = {"size": str(plan.disk_bytes)}
    if plan.gpus:
        config["device_requests"] = [DeviceRequest(device_ids=list(plan.gpus), capabilities=[["gpu"]])]
    return config


def disk_limit_of(found: Answer) -> int:
    """The limit of an inspected container's disk in bytes; 0 if it has none, or not one of ours."""
    size = str(((found.get("HostConfig") or {}).get("StorageOpt") or {}).get("size") or "")
    return int(size) if _BYTES.fullmatch(size) else 0


def gpus_of(found: Answer) -> tuple[str, ...]:
    """Ids of the GPUs that an inspected container was made with."""
    requests = (found.get("HostConfig") or {}).get("DeviceRequests") or ()
    return tuple(str(gpu) for request in requests for gpu in request.get("DeviceIDs") or ())


def mounts_lxcfs(found: Answer) -> bool:
    """Whether an inspected container mounts files of lxcfs."""
    mounts = (found.get("HostConfig") or {}).get("Mounts") or ()
    return any(str(mount.get("Source") or "").startswith(f"{MOUNT}/") for mount in mounts)
