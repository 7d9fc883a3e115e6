"""What netvps.rpc.server.interceptors does around every call."""

from __future__ import annotations

import asyncio
import re
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from netvps.domain.access.accounts import Role, User
from netvps.domain.access.permissions import MACHINES, OPEN, PEOPLE
from netvps.domain.session.event import EventType
from netvps.errors import Exhausted, InternalError, NotFound, Unauthenticated, Unavailable
from netvps.rpc.client.async_client import AsyncClient
from netvps.rpc.client.channel import OPTIONS, TLS_OPTIONS, channel_credentials
from netvps.rpc.server.open_calls import STRANGER_PER_CONNECTION
from tests.domain.access.test_permissions import api_methods
from tests.rpc.site import ROOT, default_spec, now, soon
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from netvps.domain.access.accounts import Caller
    from netvps.rpc.client.client import Client
    from tests.rpc.site import Site


captured = partial(structlog.testing.capture_logs, processors=[structlog.contextvars.merge_contextvars])


async def test_a_bug_is_reported_without_internals_and_logged_with_them(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret inside")

    monkeypatch.setattr(site.services.sessions, "get", broken)
    with captured() as logs, pytest.raises(InternalError) as error:
        await site.do(lambda client: client.get_session("dev1"))
    match = re.search(r"under request ([0-9a-f]{12})", str(error.value))
    assert match
    assert "secret" not in str(error.value)
    (entry,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert entry["rpc"] == match[1]
    assert entry["caller"] == "user root"
    assert entry["method"] == "/netvps.api.v1.SessionService/GetSession"
    assert entry["exc_info"]


async def test_a_refusal_is_logged_with_its_reason_and_no_secret(site: Site) -> None:
    endpoint = await site.remote("alice")
    with captured() as logs, pytest.raises(NotFound):
        await site.do(lambda client: client.get_session("dev1"), endpoint)
    (entry,) = [entry for entry in logs if entry["event"] == "call refused"]
    assert (entry["reason"], entry["caller"]) == ("NOT_FOUND", "user alice")
    assert str(endpoint.api_key) not in repr(logs)


async def test_a_stream_that_fails_midway_ends_with_its_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.do(lambda client: client.create_session("dev1", default_spec()))
    events = site.services.watch.sessions

    async def short(*args: object, **options: object) -> object:
        async for event in events(*args, **options):  # type: ignore[arg-type]
            yield event
            raise NotFound("the parent is gone")

    monkeypatch.setattr(site.services.watch, "sessions", short)

    def work(client: object) -> None:
        stream = client.watch_sessions()  # type: ignore[attr-defined]
        next(stream)
        with pytest.raises(NotFound, match="the parent is gone"):
            next(stream)

    await site.do(work)


async def test_a_call_that_says_nothing_is_ended(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.rpc.server.interceptors.FIRST_MESSAGE_TIMEOUT", 0.2)
    methods = ("netvps.api.v1.SessionService/ExecSession", "netvps.api.v1.SessionService/GetSession")
    system = ("grpc.health.v1.Health/Check", "grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")
    async with grpc.aio.insecure_channel(site.local.address, OPTIONS) as channel:
        for method in (*methods, *system):
            open_call: Any = channel.stream_stream(f"/{method}", None, None)
            call = open_call()  # unary or not: on the wire it is the same
            with pytest.raises(grpc.aio.AioRpcError, match=r"no message came within 0 s") as error:
                await call.read()
            assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            call = open_call()
            await call.done_writing()
            with pytest.raises(grpc.aio.AioRpcError) as error:
                await call.read()
            assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_calls_without_a_credential_are_few_on_a_connection(site: Site) -> None:
    async with grpc.aio.insecure_channel(site.local.address, OPTIONS) as channel:
        request = health_pb2.HealthCheckRequest()
        watches = [health_pb2_grpc.HealthStub(channel).Watch(request) for _ in range(STRANGER_PER_CONNECTION)]
        for watch in watches:
            await watch.read()
        with pytest.raises(grpc.aio.AioRpcError, match="16 open calls without a credential") as error:
            await health_pb2_grpc.HealthStub(channel).Check(request)
        assert error.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        for watch in watches:
            watch.cancel()
        for _ in range(100):
            with suppress(grpc.aio.AioRpcError):
                await health_pb2_grpc.HealthStub(channel).Check(request)
                return
        raise AssertionError("calls that ended still count")


async def test_a_user_has_so_many_watches(site: Site) -> None:
    site.server._calls._of_users["/netvps.api.v1.SessionService/WatchSessions"] = 2
    endpoint = await site.remote("alice")

    def work(client: Client) -> None:
        watches = [client.watch_sessions() for _ in range(3)]
        next(watches[0]), next(watches[1])
        with pytest.raises(Exhausted, match="user alice has 2 open WatchSessions calls"):
            next(watches[2])
        watches[0].close()
        for _ in range(100):
            with suppress(Exhausted):
                next(client.watch_sessions())
                return
        raise AssertionError("a watch that ended still counts")

    await site.do(work, endpoint)


async def test_an_open_stream_ends_with_the_credential_that_opened_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netvps.rpc.server.interceptors.REVIEW_SECONDS", 0.02)
    credential, key = await site.services.access.create_api_key(ROOT, "alice", "")
    reviews = 0
    authenticate = site.services.access.authenticate

    async def counted(api_key: str) -> Caller:
        nonlocal reviews
        reviews += 1
        return await authenticate(api_key)

    monkeypatch.setattr(site.services.access, "authenticate", counted)
    endpoint = replace(await site.remote("alice"), api_key=key)
    async with AsyncClient(endpoint) as client, aclosing(client.watch_sessions()) as events:
        assert (await anext(events)).type is EventType.CAUGHT_UP
        await soon(lambda: reviews > 3)  # and it goes on
        await site.services.access.delete_api_key(ROOT, "alice", credential.kid)
        with pytest.raises(Unauthenticated, match="expired or revoked"):
            await asyncio.wait_for(anext(events), PATIENCE)


async def _outcome(channel: grpc.aio.Channel, method: str, key: str | None) -> Any:
    """Calls a method with bytes that are no message: a caller who is permitted gets INVALID_ARGUMENT.

    On the wire all kinds of calls are the same; a stream that is refused before it is written is INTERNAL to gRPC.
    """
    call: Any = channel.unary_unary(f"/netvps.api.v1.{method}", bytes, bytes)(
        b"\xff", metadata=(("authorization", f"Bearer {key}"),)
    )
    return await call.code()


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_calls_what_its_row_permits_and_no_more(site: Site, role: Role) -> None:
    async with site.store.write("test") as tx:
        await tx.put(User("carol", role, now()))
    key = (await site.remote("carol")).api_key
    async with grpc.aio.secure_channel(
        site.api_address, channel_credentials(site.ca.certificate), TLS_OPTIONS
    ) as channel:
        outcomes = {method: await _outcome(channel, method, key) for method in api_methods()}
    assert outcomes == {method: _expected(method, role) for method in api_methods()}


def _expected(method: str, role: Role) -> grpc.StatusCode:
    if method in MACHINES:
        return grpc.StatusCode.UNIMPLEMENTED  # another port serves them
    if method in OPEN or role in PEOPLE[method]:
        return grpc.StatusCode.INVALID_ARGUMENT
    return grpc.StatusCode.PERMISSION_DENIED


async def test_an_open_stream_ends_when_the_role_of_its_user_changes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("netvps.rpc.server.interceptors.REVIEW_SECONDS", 0.02)
    await site.services.access.update_user(ROOT, "alice", Role.OPERATOR)
    async with AsyncClient(await site.remote("alice")) as client, aclosing(client.watch_sessions()) as events:
        assert (await anext(events)).type is EventType.CAUGHT_UP
        await site.do(lambda root: root.update_user("alice", Role.USER))
        with pytest.raises(Unavailable, match="your role changed: call again"):
            await asyncio.wait_for(anext(events), PATIENCE)
