"""What calls leave in the audit log, over real sockets.

So it is the test of netvps.rpc.convert.audit and netvps.rpc.servicers.people.audit, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.api.v1 import image_pb2, registry_pb2, snapshot_pb2, ssh_key_pb2
from netvps.api.v1 import session_pb2 as pb
from netvps.domain.access.audit import AuditQuery, verify
from netvps.errors import NotFound, NotPermitted, Unauthenticated, Unavailable
from netvps.rpc.client.channel import Endpoint
from netvps.rpc.server.call_audit import describe, origin_of
from netvps.services.auditing import AuditedCall
from tests.rpc.site import default_spec

if TYPE_CHECKING:
    from netvps.domain.access.audit import AuditRecord
    from netvps.rpc.client.client import Client
    from tests.rpc.site import Site


async def records(site: Site) -> list[AuditRecord]:
    def read(client: Client) -> list[AuditRecord]:
        return list(client.list_audit_records(AuditQuery(2)))

    found = await site.do(read)
    assert verify(found) == []
    return found


async def test_a_change_is_recorded_with_who_where_and_what(site: Site) -> None:
    await site.do(lambda client: client.create_session("dev1", default_spec()))
    await site.do(lambda client: client.get_session("dev1"))
    created, *rest = (await records(site))[-1:]
    assert rest == []
    event = created.event
    assert (event.actor, event.origin, event.outcome) == ("root", "local", "OK")
    assert (event.action, event.target) == ("SessionService/CreateSession", "sessions/dev1.root")


async def test_access_without_a_change_is_recorded(site: Site) -> None:
    await site.do(lambda client: client.create_session("dev1", default_spec()))
    with pytest.raises(Unavailable):
        await site.do(lambda client: list(client.read_logs("dev1")))
    found = (await records(site))[-1].event
    assert (found.action, found.target) == ("SessionService/ReadSessionLogs", "sessions/dev1.root")
    assert "seconds" in dict(found.details)


async def test_refusals_are_recorded_once_a_minute_with_their_source(site: Site) -> None:
    endpoint = await site.remote("alice")
    for _ in range(3):
        with pytest.raises(NotPermitted):
            await site.do(lambda client: list(client.list_users()), endpoint)
    wrong = Endpoint(endpoint.address, endpoint.ca_certificate, "nv_wrong_key")
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await site.do(lambda client: list(client.list_users()), wrong)
    refused = [each.event for each in await records(site) if each.event.outcome != "OK"]
    assert [(each.actor, each.action) for each in refused] == [
        ("alice", "UserService/ListUsers"),
        ("", "UserService/ListUsers"),
    ]
    assert all(each.origin.startswith("127.0.0.1:") for each in refused)
    assert "nv_wrong_key" not in repr(refused)


async def test_what_is_not_found_is_neither_a_change_nor_a_refusal(site: Site) -> None:
    before = len(await records(site))
    with pytest.raises(NotFound):
        await site.do(lambda client: client.get_session("nosuch"))
    assert len(await records(site)) == before


async def test_others_do_not_read_it(site: Site) -> None:
    endpoint = await site.remote("alice")
    with pytest.raises(NotPermitted):
        await site.do(lambda client: list(client.list_audit_records(AuditQuery(9))), endpoint)


def test_names_and_ids_are_recorded_and_nothing_else() -> None:
    request = pb.CreateSessionRequest(session_id="dev1", request_id="r1")
    request.spec.env["SECRET"] = "hidden"
    call = AuditedCall("alice", "local", "X")
    describe(call, request)
    assert (call.target, call.details) == ("sessions/dev1.alice", (("session_id", "dev1"),))
    describe(call, pb.CreateSessionRequest(session_id="dev1", owner="users/bob"))
    assert call.target == "sessions/dev1.bob"
    describe(call, pb.GetSessionRequest(name="sessions/dev1"))
    assert (call.target, call.details) == ("sessions/dev1.alice", ())
    describe(call, ssh_key_pb2.ListSshKeysRequest(parent="users/me"))
    assert call.target == "users/alice"
    describe(call, snapshot_pb2.DeleteSnapshotRequest(name="sessions/a.b/snapshots/c"))
    assert (call.target, call.details) == ("sessions/a.b/snapshots/c", ())
    describe(call, pb.UpdateSessionRequest(session=pb.Session(name="sessions/dev1")))
    assert call.target == "sessions/dev1.alice"
    login = registry_pb2.RegistryLogin(name="registryLogins/x")
    describe(call, registry_pb2.UpdateRegistryLoginRequest(password="hidden", registry_login=login))
    assert (call.target, call.details) == ("registryLogins/x", ())
    describe(call, pb.ListSessionsRequest())
    assert call.target == ""


@pytest.mark.parametrize(
    ("peer", "origin"),
    [
        ("ipv4:192.0.2.1:4711", "192.0.2.1:4711"),
        ("ipv6:%5B2001:db8::1%5D:4711", "[2001:db8::1]:4711"),
        ("unix-abstract:netvps/0/ab", "local"),
        ("unix-abstract:netvps/link/192.0.2.1:4711/ABC234", "192.0.2.1:4711"),
        ("unix-abstract:netvps%2Flink%2F%5B2001:db8::1%5D:4711%2FABC234", "[2001:db8::1]:4711"),
        ("", "local"),
    ],
)
def test_an_origin_is_an_address_or_local(peer: str, origin: str) -> None:
    assert origin_of(peer) == origin


async def test_work_on_images_and_logins_is_recorded_without_passwords(site: Site) -> None:
    await site.join()
    with pytest.raises(Unavailable):
        await site.do(lambda client: list(client.pull_image("lab1", "debian:12")))
    pulled = (await records(site))[-1].event
    assert (pulled.action, pulled.target) == ("ImageService/PullImage", "runners/lab1")
    await site.do(lambda client: client.update_registry_login("registry.example", "ci", "hunter2"))
    stored = (await records(site))[-1].event
    assert (stored.action, stored.target) == (
        "RegistryService/UpdateRegistryLogin",
        "registryLogins/registry.example",
    )
    assert "hunter2" not in repr(await records(site))


def test_the_first_message_of_a_stream_names_the_resource() -> None:
    call = AuditedCall("alice", "local", "ImageService/BuildImage")
    start = image_pb2.BuildStart(parent="runners/lab1", environment_id="tools", tag="1")
    describe(call, image_pb2.BuildImageRequest(start=start))
    assert (call.target, call.details) == ("runners/lab1", (("environment_id", "tools"),))
