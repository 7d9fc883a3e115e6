"""The table of calls against the API. What the calls do is tested by tests/rpc/client/test_client.py.

So it is the test of netvps.rpc.client.calls.call, netvps.rpc.client.calls.machines, netvps.rpc.client.calls.people,
netvps.rpc.client.calls.images,
netvps.rpc.client.calls.leases,
netvps.rpc.client.calls.registration,
netvps.rpc.client.calls.registries, netvps.rpc.client.calls.tasks,
netvps.rpc.client.calls.moves and netvps.rpc.client.calls.sessions, too.
"""

from __future__ import annotations

import inspect
from datetime import UTC, datetime
from typing import Any

from google.protobuf import message_factory

from netvps.domain.access.audit import AuditQuery
from netvps.domain.batch import NewSession
from netvps.domain.session.session import SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.snapshot.snapshot import SnapshotChange, SnapshotDraft
from netvps.domain.task.spec import TaskSpec
from netvps.rpc.client.calls import (
    images,
    leases,
    machines,
    moves,
    people,
    registration,
    registries,
    sessions,
    shares,
    snapshots,
    tasks,
    urls,
)
from netvps.rpc.client.calls.all import Calls
from netvps.rpc.client.calls.call import Pages, Stream, Unary
from tests.rpc.client.test_retries import described

EXAMPLES: dict[str, Any] = {
    "name": "dev1",
    "runner": "lab1",
    "reference": "debian:12",
    "host": "registry.example",
    "username": "ci",
    "password": "secret",
    "session_id": "dev1",
    "spec": SessionSpec(),
    "fields": ("cpus",),
    "session": "dev1",
    "snapshot": "one",
    "source": "dev1",
    "draft": SnapshotDraft(),
    "change": SnapshotChange(pinned=True),
    "role": "USER",
    "user": "bob",
    "query": AuditQuery(9),
    "public_key": "ssh-ed25519 AAAA",
    "uid_or_fingerprint": "SHA256:x",
    "labels": {"rack": "3"},
    "drafts": (NewSession("dev1", SessionSpec()),),
    "replacement": "dev2",
    "states": (SessionState.RUNNING,),
    "attachment": bytes(16),
    "token": "sealed",
    "kid": "0123456789ab",
    "port": 8080,
    "url": "shop.example",
    "expire_time": datetime(2026, 1, 2, tzinfo=UTC),
    "holder": "queue",
    "ttl": 60.0,
    "job": TaskSpec(("true",)),
    "task_id": "0000000000001",
}


def functions() -> dict[str, Any]:
    """What makes calls, by name. Messages of streams to the server (exec, import, browse) are no calls."""
    return {
        name: function
        for module in (
            images,
            leases,
            machines,
            moves,
            people,
            registration,
            registries,
            sessions,
            shares,
            snapshots,
            tasks,
            urls,
        )
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and not name.startswith(("_", "exec_", "import_", "build_", "browse_"))
    }


def made(name: str, build: Any) -> Unary[Any] | Pages[Any] | Stream[Any]:
    needed = [one.name for one in inspect.signature(build).parameters.values() if one.default is one.empty]
    example = {key: EXAMPLES[key] for key in needed}
    own = {
        "delete_api_key": {"name": "alice/kid"},
        "rotate_api_key": {"name": "alice/kid"},
        "share_session": {"role": "USE"},
    }
    call: Unary[Any] | Pages[Any] | Stream[Any] = build(**(example | own.get(name, {})))
    return call


def test_every_call_names_a_method_with_its_request_and_answer() -> None:
    methods = described()
    for name, build in functions().items():
        call = made(name, build)
        method = methods[call.method.replace("/", ".")]
        assert call.request.DESCRIPTOR is method.input_type, name
        assert call.response is message_factory.GetMessageClass(method.output_type), name
        assert isinstance(call, Stream) == method.server_streaming, name
        assert isinstance(call, Pages) == ("next_page_token" in method.output_type.fields_by_name), name


def test_the_clients_offer_every_call() -> None:
    assert {name for name in vars(Calls) if not name.startswith("_")} == set(functions())
    for name, function in functions().items():
        assert getattr(Calls, name) is function
    assert Calls.get_session.__doc__ == "One session."


def test_each_mutation_has_a_request_id_of_its_own() -> None:
    mutations = {name: build for name, build in functions().items() if hasattr(made(name, build).request, "request_id")}
    assert {"create_session", "stop_session", "create_api_key", "delete_runner"} <= set(mutations)
    for name, build in mutations.items():
        first, second = (made(name, build).request.request_id for _ in range(2))
        assert first, name
        assert first != second, name
