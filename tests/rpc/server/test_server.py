"""The three listeners: who gets in, what is served where, ports, health, reflection, and the end.

So it is the test of netvps.rpc.server.listeners and netvps.rpc.server.authenticators, too; and, joining and renewing,
of netvps.rpc.servicers.enrollment and netvps.rpc.servicers.certificates.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from grpc import StatusCode
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from netvps.api.v1 import enrollment_pb2, session_pb2, user_pb2
from netvps.api.v1.enrollment_pb2_grpc import CertificateServiceStub
from netvps.api.v1.link_pb2_grpc import RunnerLinkServiceStub
from netvps.api.v1.session_pb2_grpc import SessionServiceStub
from netvps.api.v1.user_pb2_grpc import UserServiceStub
from netvps.errors import ConfigError, NotFound, Unauthenticated, Unavailable
from netvps.rpc.client.channel import OPTIONS, TLS_OPTIONS, channel_credentials
from netvps.rpc.client.link_client import RunnerLink, join
from netvps.rpc.server.listeners import Addresses
from tests.rpc.site import ALICE, default_spec, open_site
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.rpc.site import Machine, Site


def local(site: Site) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(site.local.address, OPTIONS)


def remote(site: Site) -> grpc.aio.Channel:
    return grpc.aio.secure_channel(site.api_address, channel_credentials(site.ca.certificate), TLS_OPTIONS)


def link(site: Site, machine: Machine) -> grpc.aio.Channel:
    credentials = channel_credentials(site.ca.certificate, machine.certificate, machine.key)
    return grpc.aio.secure_channel(site.link_address, credentials, TLS_OPTIONS)


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return error.value.code(), error.value.details() or ""


@pytest.mark.parametrize(
    ("metadata", "sentence"),
    [
        ((), "this call has no API key: ask an admin"),
        ((("authorization", "Basic eHg6eHg="),), "this call has no API key"),
        ((("authorization", "Bearer nv_a_b"),), "this API key is unknown, expired or revoked"),
        ((("authorization", "Bearer nv_a_b"), ("authorization", "Bearer nv_c_d")), "this call has no API key"),
    ],
)
async def test_the_api_takes_only_good_keys(site: Site, metadata: Any, sentence: str) -> None:
    async with remote(site) as channel:
        call = UserServiceStub(channel).GetUser(user_pb2.GetUserRequest(name="users/me"), metadata=metadata)
        code, details = await refusal(call)
    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert details.startswith(sentence)


async def test_the_link_takes_only_certificates_of_its_ca(site: Site) -> None:
    async with (
        remote(site),
        grpc.aio.secure_channel(site.link_address, channel_credentials(site.ca.certificate), TLS_OPTIONS) as channel,
    ):
        code, _ = await refusal(
            CertificateServiceStub(channel).RenewCertificate(enrollment_pb2.RenewCertificateRequest(csr="x"))
        )
    assert code is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize(
    "uri", ["netvps://runner/x", "https://example.org", "netvps://session/0123456789abc/epoch/0", "netvps://user/root"]
)
async def test_a_certificate_must_name_a_runner_or_a_session(site: Site, uri: str) -> None:
    certificate, key = site.certificate_for(uri)
    async with RunnerLink(site.link_address, site.ca.certificate, certificate, key) as runner:
        with pytest.raises(Unauthenticated, match="names no runner, session or server"):
            await runner.renew("csr")


async def test_a_session_may_not_act_as_a_runner(site: Site) -> None:
    certificate, key = site.certificate_for("netvps://session/0123456789abc/epoch/1")
    async with RunnerLink(site.link_address, site.ca.certificate, certificate, key) as runner:
        with pytest.raises(Exception, match="this call is for runners, not for session 0123456789abc epoch 1"):
            await runner.boot_token("0123456789abc", 1)


async def test_each_listener_serves_its_own_services_only(site: Site) -> None:
    machine = await site.join()
    async with link(site, machine) as channel:
        code, _ = await refusal(
            SessionServiceStub(channel).GetSession(session_pb2.GetSessionRequest(name="sessions/a"))
        )
        assert code is grpc.StatusCode.UNIMPLEMENTED
    async with local(site) as channel:
        call: Any = RunnerLinkServiceStub(channel).Connect()  # type: ignore[call-arg]
        code, _ = await refusal(call.read())
        assert code is grpc.StatusCode.UNIMPLEMENTED


async def test_a_machine_joins_and_renews(site: Site) -> None:
    from netvps.adapters.ca.client_key import new_key, signing_request, uri_of

    token, _ = await site.do(lambda client: client.create_join_token())
    key = new_key()
    joined = await join(site.api_address, token, signing_request(key), "lab1")
    assert (joined.runner, joined.ca_certificate) == ("lab1", site.ca.certificate)
    assert joined.link_address == site.link_address
    async with RunnerLink(joined.link_address, joined.ca_certificate, joined.certificate, key) as runner:
        renewed = await runner.renew(signing_request(new_key()))
    assert uri_of(renewed) == uri_of(joined.certificate)
    with pytest.raises(Unauthenticated):
        await join(site.api_address, token, signing_request(new_key()), "lab1")


async def test_a_join_token_of_another_server_is_explained(site: Site) -> None:
    with pytest.raises(Unauthenticated, match="did not create this join token"):
        await join(site.api_address, f"nvj_kid_secret_{'0' * 64}", "csr", "lab1")


async def test_health_is_public_where_people_and_programs_call(site: Site) -> None:
    channels: list[tuple[Callable[[], grpc.aio.Channel], str]] = [
        (lambda: local(site), "netvps.api.v1.SessionService"),
        (lambda: remote(site), "netvps.api.v1.UserService"),
    ]
    for open_channel, service in channels:
        async with open_channel() as channel:
            for name in ("", service):
                answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
                assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_the_link_serves_a_session_what_its_agent_needs_and_nothing_else(site: Site) -> None:
    """That is where the socket in a session leads, whose root has the agent's certificate."""
    certificate, key = site.certificate_for("netvps://session/0123456789abc/epoch/1")
    credentials = channel_credentials(site.ca.certificate, certificate, key)
    files = ("enrollment", "link", "network", "runner", "server", "session", "ssh_key", "tunnel", "user")
    methods = [
        f"/netvps.api.v1.{service}/{method}"
        for file in files
        for service, described in import_module(f"netvps.api.v1.{file}_pb2").DESCRIPTOR.services_by_name.items()
        for method in described.methods_by_name
    ]
    methods += ["/grpc.health.v1.Health/Check", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"]
    codes: dict[str, StatusCode] = {}
    async with grpc.aio.secure_channel(site.link_address, credentials, TLS_OPTIONS) as channel:
        for method in methods:
            for _ in range(5):
                call: Any = channel.stream_stream(method, None, None)(iter([b""]))
                codes[method], _ = await refusal(call.read())
                if codes[method] is not StatusCode.INTERNAL:  # the refusal overtook the request
                    break
    served = {
        method.removeprefix("/netvps.api.v1.") for method, code in codes.items() if code is not StatusCode.UNIMPLEMENTED
    }
    refused = {
        method.removeprefix("/netvps.api.v1.") for method, code in codes.items() if code is StatusCode.PERMISSION_DENIED
    }
    assert served - refused == {
        "CertificateService/RenewCertificate",
        "TunnelService/Control",
        "TunnelService/DialBack",
    }
    assert {method.partition("/")[0] for method in refused} == {"RunnerLinkService"}


async def test_a_client_that_knows_only_reflection_creates_a_session(site: Site) -> None:
    async with remote(site) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        files = await _reflect(stub, "netvps.api.v1.SessionService")
        pool = descriptor_pool.DescriptorPool()
        for file in files:
            pool.Add(file)
        method = pool.FindMethodByName("netvps.api.v1.SessionService.CreateSession")
        ask = message_factory.GetMessageClass(method.input_type)
        answer = message_factory.GetMessageClass(method.output_type)
        call = channel.unary_unary(
            "/netvps.api.v1.SessionService/CreateSession", ask.SerializeToString, answer.FromString
        )
        key = (await site.remote("alice")).api_key
        made = await call(ask(session_id="dev1"), metadata=(("authorization", f"Bearer {key}"),))
    assert made.name == "sessions/dev1.alice"
    assert (await site.services.sessions.get(ALICE, "dev1")).uid == made.uid


async def _reflect(stub: Any, symbol: str) -> list[Any]:
    """The file of a symbol and all that it imports, those first that nothing else needs."""
    found: dict[str, Any] = {}

    async def fetch(**what: str) -> None:
        call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(**what)]))
        async for answer in call:
            for data in answer.file_descriptor_response.file_descriptor_proto:
                file = descriptor_pb2.FileDescriptorProto.FromString(data)
                for needed in file.dependency:
                    if needed not in found:
                        await fetch(file_by_filename=needed)
                found.setdefault(file.name, file)

    await fetch(file_containing_symbol=symbol)
    return list(found.values())


async def test_reflection_lists_what_is_served(site: Site) -> None:
    async with remote(site) as channel:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        names = [service.name async for answer in call for service in answer.list_services_response.service]
    assert sorted(names) == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        *(
            f"netvps.api.v1.{name}Service"
            for name in (
                "Audit",
                "Enrollment",
                "Image",
                "Lease",
                "Login",
                "Metrics",
                "Move",
                "Network",
                "Registration",
                "Registry",
                "Runner",
                "Server",
                "Session",
                "Share",
                "Snapshot",
                "SshKey",
                "Task",
                "Url",
                "User",
            )
        ),
    ]


async def test_a_port_that_is_taken_is_a_readable_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ConfigError, match=rf"cannot listen on {address} \(API\): another program has this port"):
            async with open_site(addresses=Addresses(api=address)):
                raise AssertionError


async def test_a_second_server_on_the_same_socket_is_refused(site: Site) -> None:
    with pytest.raises(ConfigError, match="already running"):
        async with open_site(addresses=Addresses(site.folder / "api.sock")):
            raise AssertionError
    assert (await site.do(lambda client: client.get_user())).name == "root"


async def test_a_watcher_that_never_reads_harms_no_other(site: Site) -> None:
    key = (await site.remote("root")).api_key
    async with remote(site) as channel:
        idle: Any = SessionServiceStub(channel).WatchSessions(
            session_pb2.WatchSessionsRequest(parent="users/-"), metadata=(("authorization", f"Bearer {key}"),)
        )
        await idle.read()
        spec = default_spec()
        object.__setattr__(spec, "env", {f"A{number}": "x" * 30_000 for number in range(20)})
        for number in range(30):
            await site.services.sessions.create(ALICE, session_id=f"dev{number}", owner="", spec=spec)
        async with asyncio.timeout(PATIENCE):
            events = await site.do(lambda client: list(itertools.islice(client.watch_sessions("-"), 31)))
        assert len(events) == 31
        idle.cancel()


async def test_the_end_is_two_stages(site: Site) -> None:
    """Calls under way get the grace, then are broken off; the socket is gone at once."""
    key = (await site.remote("root")).api_key
    async with remote(site) as channel:
        watch: Any = SessionServiceStub(channel).WatchSessions(
            session_pb2.WatchSessionsRequest(), metadata=(("authorization", f"Bearer {key}"),)
        )
        await watch.read()
        async with asyncio.timeout(PATIENCE):
            await site.server.stop(0.2)
        with pytest.raises((grpc.aio.AioRpcError, asyncio.CancelledError)):
            await watch.read()
    assert not (site.folder / "api.sock").exists()
    assert not (site.folder / ".api.sock.grpc").exists()
    with pytest.raises(Unavailable, match="no netvps server answers"):
        await site.do(lambda client: client.get_user())


async def test_unknown_methods_are_explained(site: Site) -> None:
    async with local(site) as channel:
        call = channel.unary_unary("/netvps.api.v1.SessionService/Nonsense", bytes, bytes)
        code, _ = await refusal(call(b""))
    assert code is grpc.StatusCode.UNIMPLEMENTED


async def test_local_calls_are_those_of_the_account(site: Site) -> None:
    assert (await site.do(lambda client: client.get_user())).name == "root"
    with pytest.raises(NotFound):
        await site.do(lambda client: client.get_session("missing"))
    with pytest.raises(Unauthenticated):
        await site.do(lambda client: client.get_user(), replace(await site.remote(), api_key=None))


async def test_a_token_of_a_terminal_ui_is_its_user_at_the_local_socket_until_it_ends(site: Site) -> None:
    tokens = site.services.ui_tokens
    token = tokens.mint("alice")
    endpoint = replace(site.local, api_key=token)
    assert (await site.do(lambda client: client.get_user(), endpoint)).name == "alice"
    remote = replace(await site.remote("alice"), api_key=token)
    with pytest.raises(Unauthenticated):
        await site.do(lambda client: client.get_user(), remote)
    tokens.revoke(token)
    with pytest.raises(Unauthenticated, match="has ended"):
        await site.do(lambda client: client.get_user(), endpoint)
    gone = replace(site.local, api_key=tokens.mint("nobody"))
    with pytest.raises(Unauthenticated, match="is no user here"):
        await site.do(lambda client: client.get_user(), gone)


async def test_an_api_key_at_the_local_socket_counts_alone_also_a_wrong_one(site: Site) -> None:
    """A program of this account that calls for others must not get the account's own rights by a wrong key."""
    key = (await site.remote("alice")).api_key
    assert (await site.do(lambda client: client.get_user(), replace(site.local, api_key=key))).name == "alice"
    for wrong in ("nv_kid_secret", "anything", f"{key}0", "", " "):
        with pytest.raises(Unauthenticated, match="unknown, expired or revoked"):
            await site.do(lambda client: client.get_user(), replace(site.local, api_key=wrong))
