from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.session.spec import DEFAULT_GRACE, DEFAULT_PIDS, Network, SessionSpec
from netvps.errors import InvalidInput
from tests.domain.runner.test_gpu import gpu_id
from tests.fakes.keys import ed25519

GOOD: list[dict[str, object]] = [
    {"image": "debian:12"},
    {"image": "registry.example:5000/team/image@sha256:" + "0" * 64},
    {"cpus": 0.01},
    {"cpus": 1024},
    {"memory_bytes": 6 << 20},
    {"pids": 16},
    {"shm_bytes": 64 << 10},
    {"disk_bytes": 64 << 20},
    {"gpus": 64},
    {"gpu_ids": (gpu_id(1), gpu_id(2))},
    {"open_files": 1024},
    {"open_files": 1 << 20},
    {"pids": 4_194_304},
    {"env": {"_A1": "x" * 32768, "b": ""}},
    {"authorized_keys": (f"{ed25519(1)} me@host",) * 50},
    {"stop_grace": 0},
    {"stop_grace": 600},
    {"labels": {"a": "", "team.example/role-1": "x" * 255}},
    {"network": Network.NONE},
    {"run_entrypoint": True, "command": ("sh", "-c", "x" * 32768, "")},
]
BAD: list[tuple[dict[str, object], str]] = [
    ({"image": "-debian"}, "image"),
    ({"image": "Debian 12"}, "image"),
    ({"image": "a" * 256}, "image"),
    ({"image": "a\x1b[31m"}, "image"),
    ({"cpus": 0.001}, "cpus"),
    ({"cpus": -1}, "cpus"),
    ({"cpus": math.nan}, "cpus"),
    ({"cpus": math.inf}, "cpus"),
    ({"memory_bytes": 1}, "memory_bytes"),
    ({"memory_bytes": -1}, "memory_bytes"),
    ({"pids": 15}, "pids"),
    ({"shm_bytes": 65535}, "shm_bytes"),
    ({"disk_bytes": 1}, "disk_bytes"),
    ({"disk_bytes": -1}, "disk_bytes"),
    ({"disk_bytes": 2 << 50}, "disk_bytes"),
    ({"gpus": -1}, "gpus"),
    ({"gpus": 65}, "gpus"),
    ({"gpus": 1, "gpu_ids": (gpu_id(1),)}, "gpus"),
    ({"gpu_ids": ("all",)}, "gpu_ids[0]"),
    ({"gpu_ids": ("GPU-\x1b",)}, "gpu_ids[0]"),
    ({"gpu_ids": (gpu_id(1), gpu_id(1))}, "gpu_ids"),
    ({"gpu_ids": tuple(map(gpu_id, range(65)))}, "gpu_ids"),
    ({"open_files": 1023}, "open_files"),
    ({"open_files": -1}, "open_files"),
    ({"open_files": 2 << 20}, "open_files"),
    ({"shm_bytes": -1}, "shm_bytes"),
    ({"shm_bytes": 2 << 50}, "shm_bytes"),
    ({"pids": 0}, "pids"),
    ({"max_restarts": -1}, "max_restarts"),
    ({"max_restarts": 1001}, "max_restarts"),
    ({"env": {"1A": ""}}, "env['1A']"),
    ({"env": {"": ""}}, "env['']"),
    ({"env": {"A": "\0"}}, "env['A']"),
    ({"env": {"A": "x" * 32769}}, "env['A']"),
    ({"env": {f"A{number}": "" for number in range(101)}}, "env"),
    ({"authorized_keys": ("nonsense",)}, "authorized_keys[0]"),
    ({"authorized_keys": (ed25519(1),) * 51}, "authorized_keys"),
    ({"command": ("serve",)}, "command"),
    ({"run_entrypoint": True, "command": ("x",) * 101}, "command"),
    ({"run_entrypoint": True, "command": ("x" * 32768,) * 5}, "command"),
    ({"run_entrypoint": True, "command": ("x", "x" * 32769)}, "command[1]"),
    ({"run_entrypoint": True, "command": ("a\0",)}, "command[0]"),
    ({"stop_grace": 601}, "stop_grace"),
    ({"stop_grace": math.nan}, "stop_grace"),
    ({"labels": {"-a": ""}}, "labels['-a']"),
    ({"labels": {"a" * 64: ""}}, f"labels['{'a' * 59}…]"),
    ({"labels": {"a": "\n"}}, "labels['a']"),
    ({"labels": {f"a{number}": "" for number in range(33)}}, "labels"),
]


def test_every_field_has_a_default() -> None:
    spec = SessionSpec()
    assert (spec.image, spec.cpus, spec.memory_bytes, spec.network) == ("", 0, 0, Network.DEFAULT)
    assert (spec.pids, spec.stop_grace) == (DEFAULT_PIDS, DEFAULT_GRACE) == (4096, 10.0)


@pytest.mark.parametrize("fields", GOOD, ids=lambda fields: str(fields)[:40])
def test_what_the_rules_allow(fields: dict[str, object]) -> None:
    SessionSpec(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(("fields", "field"), BAD, ids=lambda value: str(value)[:40])
def test_what_the_rules_forbid(fields: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        SessionSpec(**fields)  # type: ignore[arg-type]
    assert [violation.field for violation in caught.value.violations] == [field]
    assert str(caught.value).isprintable()


def test_all_violations_come_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        SessionSpec(
            image="?",
            cpus=-1,
            memory_bytes=1,
            pids=1,
            stop_grace=-1,
            env={"1": "\0"},
            labels={"A": "\n"},
            authorized_keys=(ed25519(1), "x", "y"),
        )
    assert [violation.field for violation in caught.value.violations] == [
        "image",
        "cpus",
        "memory_bytes",
        "pids",
        "stop_grace",
        "env['1']",
        "env['1']",
        "labels['A']",
        "labels['A']",
        "authorized_keys[1]",
        "authorized_keys[2]",
    ]


@given(
    st.builds(
        dict,
        image=st.text(max_size=300),
        cpus=st.floats(),
        memory_bytes=st.integers(),
        pids=st.integers(),
        env=st.dictionaries(st.text(), st.text(), max_size=3),
        labels=st.dictionaries(st.text(), st.text(), max_size=3),
        authorized_keys=st.tuples(st.text()),
        stop_grace=st.floats(),
    )
)
def test_any_values_are_a_spec_or_a_typed_error(fields: dict[str, object]) -> None:
    try:
        SessionSpec(**fields)  # type: ignore[arg-type]
    except InvalidInput as error:
        assert str(error).isprintable()
