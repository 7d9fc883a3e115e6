"""Which calls are repeated: by the table, and counted at a server that answers UNAVAILABLE or loses its connections."""

from __future__ import annotations

import asyncio
import importlib
import pkgutil
from collections import Counter
from concurrent import futures
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import netvps.api.v1
from netvps.domain.session.exec import ExecStart
from netvps.errors import Unavailable
from netvps.rpc.client.channel import Endpoint
from netvps.rpc.client.retries import IDEMPOTENT, NEVER, READS
from netvps.rpc.client.transport import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from netvps.rpc.client.client import Client
    from tests.rpc.site import Site

ATTEMPTS = 5


def described() -> dict[str, Any]:
    """Every method of the API, "Service.Method", with its descriptor."""
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(netvps.api.v1.__path__):
        if not module.name.endswith("_pb2"):
            continue
        file = importlib.import_module(f"netvps.api.v1.{module.name}").DESCRIPTOR
        for service in file.services_by_name.values():
            found |= {f"{service.name}.{method.name}": method for method in service.methods}
    return found


def named(table: dict[str, tuple[str, ...]]) -> list[str]:
    return [f"{service}.{method}" for service, methods in table.items() for method in methods]


def test_every_method_of_the_api_is_in_exactly_one_table() -> None:
    assert Counter([*named(READS), *named(IDEMPOTENT), *named(NEVER)]) == Counter([*described()])


def test_what_changes_something_is_repeated_only_with_a_request_id() -> None:
    methods = described()
    for name in named(IDEMPOTENT):
        assert "request_id" in methods[name].input_type.fields_by_name, name
    for name in named(READS):
        assert "request_id" not in methods[name].input_type.fields_by_name, name
        assert not methods[name].client_streaming, name


class Counting(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in the stubs alone
    """Counts the calls of each method, and refuses all of them as a server does that is about to end."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    def service(self, handler_call_details: Any) -> Any:
        service, method = handler_call_details.method.removeprefix("/netvps.api.v1.").split("/")

        def refuse(_requests: Iterator[bytes], context: grpc.ServicerContext) -> None:
            self.calls[f"{service}.{method}"] += 1
            context.abort(grpc.StatusCode.UNAVAILABLE, "going away")

        return grpc.stream_stream_rpc_method_handler(refuse)


def test_a_refused_call_is_repeated_if_its_table_says_so(tmp_path: Path) -> None:
    counting = Counting()
    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[counting])
    server.add_insecure_port(f"unix:{tmp_path}/s")
    server.start()
    transport = Transport(Endpoint(f"unix:{tmp_path}/s"))
    methods = described()
    try:
        calls: list[Any] = []
        for name in methods:
            path = "/netvps.api.v1.{}/{}".format(*name.split("."))
            calls.append(transport.channel.stream_stream(path, None, None)(iter([b""]), timeout=20))
        for call in calls:
            with pytest.raises(grpc.RpcError):
                next(call)
    finally:
        transport.close()
        server.stop(None)
    repeated = {*named(READS), *named(IDEMPOTENT)}
    assert counting.calls == {name: ATTEMPTS if name in repeated else 1 for name in methods}


@asynccontextmanager
async def cut_off(site: Site) -> AsyncIterator[tuple[Endpoint, Any]]:
    """A way to the server's socket, and what cuts all connections that take it; new ones get through."""
    writers: set[asyncio.StreamWriter] = set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind = await asyncio.open_unix_connection(site.folder / "api.sock")
        writers.update((writer, behind))
        await asyncio.gather(copy(reader, behind), copy(behind_reader, writer), return_exceptions=True)

    def cut() -> None:
        for writer in writers:
            writer.transport.abort()
        writers.clear()

    path = site.folder / "front.sock"
    server = await asyncio.start_unix_server(serve, path)
    try:
        yield Endpoint(f"unix:{path}"), cut
    finally:
        cut()
        server.close()


async def test_a_command_whose_connection_is_cut_is_begun_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.running("dev1")
    begun = 0
    async with cut_off(site) as (endpoint, cut):

        async def run(*_: object, **__: object) -> AsyncIterator[Any]:
            nonlocal begun
            begun += 1
            cut()
            await asyncio.sleep(30)
            yield None

        monkeypatch.setattr(site.commands, "run", run)

        def work(client: Client) -> None:
            with pytest.raises(Unavailable):
                list(client.exec(ExecStart("dev1.alice", ("make",)), iter(())))

        await site.do(work, endpoint)
        await asyncio.sleep(2)  # as long as gRPC's retries take together
    assert begun == 1


async def test_a_read_whose_connection_is_cut_is_repeated(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, get = 0, site.services.sessions.get
    await site.running("dev1")
    async with cut_off(site) as (endpoint, cut):

        async def cutting(*args: Any) -> Any:
            nonlocal asked
            asked += 1
            if asked == 1:
                cut()
            return await get(*args)

        monkeypatch.setattr(site.services.sessions, "get", cutting)
        session = await site.do(lambda client: client.get_session("dev1.alice"), endpoint)
    assert (session.name, asked) == ("dev1", 2)
