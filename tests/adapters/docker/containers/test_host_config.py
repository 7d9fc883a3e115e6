"""What goes to the engine, and what is read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import docker

from netvps.adapters.docker.containers.host_config import disk_limit_of, gpus_of, host_config, mounts_lxcfs
from netvps.domain.session.attachment import Attachment, Net
from netvps.domain.session.blueprint import Bind, Blueprint, Tmpfs, Volume
from tests.domain.runner.test_gpu import gpu_id

PLAN = Blueprint(
    session_uid="u", name="n", image="i", hostname="h", labels={"a": "b"}, env=(),
    entrypoint=("/.netvps/agent", "init"),
    binds=(Bind("/s/agent", "/.netvps/agent", read_only=True),), tmpfs=(Tmpfs("/own", 4096, 8),),
    volumes=(Volume("v", "/data"),), cpus=0.5, memory_bytes=64 << 20, shm_bytes=32 << 20, open_files=4096, pids=100,
    attachment=Attachment(Net.NONE),
)  # fmt: skip


def test_limits_are_set_only_where_asked_for() -> None:
    config = host_config(PLAN)
    assert config["nano_cpus"] == 500_000_000
    assert config["mem_limit"] == config["memswap_limit"] == 64 << 20
    free = host_config(replace(PLAN, cpus=0.0, memory_bytes=0))
    assert not {"nano_cpus", "mem_limit", "memswap_limit"} & free.keys()


def test_file_systems_in_memory_have_an_end() -> None:
    config = host_config(PLAN)
    assert config["tmpfs"] == {"/own": "size=4096,nr_inodes=8,mode=0700"}
    assert config["shm_size"] == 32 << 20
    assert config["ulimits"] == [{"Name": "nofile", "Soft": 4096, "Hard": 4096}]


def test_docker_neither_restarts_it_nor_is_its_first_process() -> None:
    config = host_config(PLAN)
    assert config["restart_policy"] == {"Name": "no"}
    assert config["init"] is False
    assert [(m["Type"], m["Source"], m["Target"], m["ReadOnly"]) for m in config["mounts"]] == [
        ("bind", "/s/agent", "/.netvps/agent", True),
        ("volume", "v", "/data", False),
    ]


def test_a_container_without_a_network_knows_its_own_name_and_ipv6_loopback_is_as_the_kernel_has_it(
    tmp_path: Path,
) -> None:
    (tmp_path / "switch").touch()
    config = host_config(PLAN, tmp_path / "switch")
    assert config["sysctls"] == {"net.ipv6.conf.lo.disable_ipv6": "0"}
    assert config["extra_hosts"] == {"h": "127.0.1.1"}
    networked = host_config(replace(PLAN, attachment=Attachment(Net.ISOLATED, owner="ann")), tmp_path / "missing")
    assert not {"sysctls", "extra_hosts"} & networked.keys()


def test_a_container_without_them_asks_for_no_gpu_and_no_disk_limit() -> None:
    assert not {"device_requests", "storage_opt"} & host_config(PLAN).keys()


def test_gpus_are_asked_for_by_id_and_a_disk_limit_in_bytes() -> None:
    """As the library sends it, which is what the engine reports when it is asked."""
    plan = replace(PLAN, disk_bytes=20 << 30, gpus=(gpu_id(3), gpu_id(1)))
    sent = docker.APIClient("unix:///nowhere", version="1.41").create_host_config(**host_config(plan))
    assert sent["DeviceRequests"] == [
        {"Driver": "", "Count": 0, "DeviceIDs": [gpu_id(3), gpu_id(1)], "Capabilities": [["gpu"]], "Options": {}}
    ]
    assert sent["StorageOpt"] == {"size": "21474836480"}
    found = {"HostConfig": sent}
    assert (gpus_of(found), disk_limit_of(found)) == ((gpu_id(3), gpu_id(1)), 20 << 30)


def test_what_a_container_has_not_is_nothing() -> None:
    for found in (
        {},
        {"HostConfig": None},
        {"HostConfig": {"DeviceRequests": None, "StorageOpt": None, "Mounts": None}},
    ):
        assert (gpus_of(found), disk_limit_of(found), mounts_lxcfs(found)) == ((), 0, False)
    assert disk_limit_of({"HostConfig": {"StorageOpt": {"size": "20G"}}}) == 0
    assert gpus_of({"HostConfig": {"DeviceRequests": [{"DeviceIDs": None, "Count": -1}]}}) == ()


def test_mounts_of_lxcfs_are_known_by_their_source() -> None:
    sent = host_config(replace(PLAN, binds=(Bind("/var/lib/lxcfs/proc/meminfo", "/proc/meminfo", read_only=True),)))
    assert mounts_lxcfs({"HostConfig": {"Mounts": sent["mounts"]}})
    assert not mounts_lxcfs({"HostConfig": {"Mounts": host_config(PLAN)["mounts"]}})
