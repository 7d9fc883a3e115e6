"""AsyncClient against real services: each kind of call once; that the calls are those of Client is by construction.

So it is the test of netvps.rpc.client.async_transport, too.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import pytest

from netvps.domain.session.event import EventType
from netvps.domain.session.exec import ExecStart, Exit, Stdin, StdinEof, Stdout
from netvps.domain.session.session import DesiredState
from netvps.errors import AlreadyExists, ConfigError, InvalidInput, Unauthenticated, Unavailable
from netvps.rpc.client.async_client import AsyncClient
from netvps.rpc.client.calls import people
from netvps.rpc.client.channel import Endpoint
from tests.rpc.site import default_spec, soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.session.exec import ToCommand
    from tests.rpc.site import Site


async def test_calls_and_lists(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.rpc.client.async_transport.PAGE_SIZE", 2)
    for endpoint in (site.local, await site.remote("root")):
        async with AsyncClient(endpoint) as client:
            assert await client.server_info() == site.services.info()
            made = [await client.create_session(f"dev{number}", default_spec()) for number in range(3)]
            assert [session.name async for session in client.list_sessions("-")] == [one.name for one in made]
            with pytest.raises(AlreadyExists):
                await client.create_session("dev1", default_spec())
            for one in made:
                assert (await client.delete_session(one.name)).desired is DesiredState.DELETED


async def test_a_request_id_has_one_effect(site: Site) -> None:
    async with AsyncClient(site.local) as client:
        first = await client.create_session("", default_spec(), request_id="job-7")
        assert await client.create_session("", default_spec(), request_id="job-7") == first
        assert [session.uid async for session in client.list_sessions()] == [first.uid]


async def test_a_watch_ends_with_its_reader(site: Site) -> None:
    async with AsyncClient(site.local) as client:
        await client.create_session("dev1", default_spec())
        async with aclosing(client.watch("-")) as events:
            heard = [await anext(events), await anext(events)]
        assert [getattr(event, "type", None) for event in heard] == [EventType.PUT, EventType.CAUGHT_UP]
        await soon(lambda: site.services.watch.watchers == 0)


async def test_a_command_gets_its_input_and_gives_its_output(site: Site) -> None:
    await site.running("dev1")

    async def messages() -> AsyncIterator[ToCommand]:
        yield Stdin(b"x" * 100_000)
        yield StdinEof()

    async with AsyncClient(await site.remote("alice")) as client:
        output = [message async for message in client.exec(ExecStart("dev1", ("cat", "-")), messages())]
    assert b"".join(piece.data for piece in output[1:-1] if isinstance(piece, Stdout)) == b"x" * 100_000
    assert output[-1] == Exit(137, "KILL")


async def test_errors_are_those_of_the_server_and_of_the_way_there(site: Site, tmp_path: Any) -> None:
    async with AsyncClient(Endpoint(site.api_address, site.ca.certificate, "nv_k_s")) as client:
        with pytest.raises(Unauthenticated):
            await client.get_user()
        with pytest.raises(Unauthenticated):
            await anext(client.watch())
    async with AsyncClient(Endpoint(f"unix:{tmp_path}/none")) as client:
        with pytest.raises(Unavailable, match="no netvps server answers"):
            await client.get_user()
    with pytest.raises(ConfigError, match="log in first"):
        AsyncClient(Endpoint("127.0.0.1:1"))
    with pytest.raises(InvalidInput, match="not USER/KID"):
        people.delete_api_key("nonsense")
