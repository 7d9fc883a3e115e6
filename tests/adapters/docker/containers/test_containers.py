"""What goes to the engine, and what its words mean."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from netvps.adapters.docker.containers.containers import _host_config, parse_time
from netvps.domain.session.attachment import Attachment, Net
from netvps.domain.session.blueprint import Bind, Blueprint, Tmpfs, Volume

PLAN = Blueprint(
    session_uid="u", name="n", image="i", hostname="h", labels={"a": "b"}, env=(),
    entrypoint=("/.netvps/agent", "init"),
    binds=(Bind("/s/agent", "/.netvps/agent", read_only=True),), tmpfs=(Tmpfs("/own", 4096, 8),),
    volumes=(Volume("v", "/data"),), cpus=0.5, memory_bytes=64 << 20, shm_bytes=32 << 20, open_files=4096, pids=100,
    attachment=Attachment(Net.NONE),
)  # fmt: skip


def test_limits_are_set_only_where_asked_for() -> None:
    config = _host_config(PLAN)
    assert config["nano_cpus"] == 500_000_000
    assert config["mem_limit"] == config["memswap_limit"] == 64 << 20
    free = _host_config(replace(PLAN, cpus=0.0, memory_bytes=0))
    assert not {"nano_cpus", "mem_limit", "memswap_limit"} & free.keys()


def test_file_systems_in_memory_have_an_end() -> None:
    config = _host_config(PLAN)
    assert config["tmpfs"] == {"/own": "size=4096,nr_inodes=8,mode=0700"}
    assert config["shm_size"] == 32 << 20
    assert config["ulimits"] == [{"Name": "nofile", "Soft": 4096, "Hard": 4096}]


def test_docker_neither_restarts_it_nor_is_its_first_process() -> None:
    config = _host_config(PLAN)
    assert config["restart_policy"] == {"Name": "no"}
    assert config["init"] is False
    assert [(m["Type"], m["Source"], m["Target"], m["ReadOnly"]) for m in config["mounts"]] == [
        ("bind", "/s/agent", "/.netvps/agent", True),
        ("volume", "v", "/data", False),
    ]


def test_times_of_the_engine() -> None:
    expected = datetime(2026, 11, 21, 7, 12, 41, 123456, UTC)
    assert parse_time("2026-11-21T07:12:41.123456789Z") == expected
    assert parse_time("2026-11-21T08:12:41.123456+01:00") == expected
    assert parse_time("2026-11-21T07:12:41Z") == expected.replace(microsecond=0)
    assert parse_time("0001-01-01T00:00:00Z") is None
    assert parse_time(None) is None
