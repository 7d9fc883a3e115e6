"""A registry as a holder of snapshots: Debian's docker-registry, on loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, closing
from pathlib import Path

import pytest

from netvps.adapters.registry import snapshots as module
from netvps.adapters.registry.client import Repository
from netvps.adapters.registry.snapshots import RegistryArrival, RegistrySnapshots
from netvps.domain.image.login import Credential
from netvps.domain.snapshot.copies import CopyPart, MissingPart
from netvps.errors import ConfigError, DataLoss, NotFound, NotPermitted, TimedOut, Unavailable, WrongState
from tests.adapters.docker.files.test_travelling import FILES, IMAGE, IMAGE_ID, OTHER, SESSION, UID, Place
from tests.support.registry import PASSWORD, USER, lacks_registry, registry, silent_registry, stalling

pytestmark = pytest.mark.skipif(bool(lacks_registry()), reason=lacks_registry())
NAME, OWNER = "netvps/snapshots", "000000000000r"


@pytest.fixture
def source(tmp_path: Path) -> Place:
    made = Place(tmp_path / "source")
    made.keep()
    return made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def host(data: Path) -> Iterator[str]:
    with registry(data=data) as address:
        yield address


@asynccontextmanager
async def holder(host: str, owner: str = OWNER, password: str = PASSWORD) -> AsyncIterator[RegistrySnapshots]:
    async def login(asked: str) -> Credential | None:
        return Credential(asked, USER, password) if password else None

    async with RegistrySnapshots(Repository(host, NAME, login, silence=0.3), owner, 20.0) as made:
        yield made


async def _arrive(to: RegistrySnapshots, of: Place, uid: str = UID) -> tuple[RegistryArrival, list[MissingPart]]:
    arrival = await to.arriving(SESSION, uid, await of.travelling.describe(SESSION, uid))
    return arrival, await to.missing(arrival)


async def _copy(to: RegistrySnapshots, of: Place, uid: str = UID) -> list[CopyPart]:
    arrival, missing = await _arrive(to, of, uid)
    for part in missing:
        async with aclosing(of.travelling.read(SESSION, uid, part.part, part.have)) as pieces:
            await to.receive(arrival, part.part, pieces, lambda _: None)
    await to.finish(arrival)
    return [part.part for part in missing]


async def _whole(of: RegistrySnapshots, part: CopyPart, offset: int = 0) -> bytes:
    async with aclosing(of.read(SESSION, UID, part, offset)) as pieces:
        return b"".join([piece async for piece in pieces])


async def _restore(of: RegistrySnapshots, to: Place) -> None:
    arrival = await to.travelling.arriving(SESSION, UID, await _whole(of, CopyPart.NOTE))
    for part in await to.travelling.missing(arrival):
        async with aclosing(of.read(SESSION, UID, part.part, part.have)) as pieces:
            await to.travelling.receive(arrival, part.part, pieces, lambda _: None)
    await to.travelling.finish(arrival)


async def test_a_snapshot_comes_back_equal(
    source: Place, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_CHUNK", 300_000)  # so that several make a part
    async with holder(host) as there:
        assert not await asyncio.to_thread(there.is_here, SESSION, UID)
        assert await _copy(there, source) == [CopyPart.FILES, CopyPart.IMAGE]
        assert await asyncio.to_thread(there.is_here, SESSION, UID)
        target = Place(tmp_path / "target")
        await _restore(there, target)
        assert target.snapshots.archive(SESSION, UID).read_bytes() == FILES
        assert target.archives.image_file(IMAGE_ID).read_bytes() == IMAGE
        assert await _whole(there, CopyPart.FILES, 1000) == FILES[1000:]
        assert target.snapshots.find(SESSION) == source.snapshots.find(SESSION)


async def test_the_same_bytes_are_sent_once(source: Place, host: str) -> None:
    source.keep(OTHER)
    async with holder(host) as there:
        await _copy(there, source)
        assert await _copy(there, source, OTHER) == []


async def test_what_is_dropped_is_gone_and_the_rest_stays(source: Place, host: str) -> None:
    source.keep(OTHER)
    async with holder(host) as there:
        await _copy(there, source)
        await _copy(there, source, OTHER)
        for _ in range(2):  # it is repeated where its report is lost
            await there.drop(SESSION, UID)
            assert not await asyncio.to_thread(there.is_here, SESSION, UID)
        assert await asyncio.to_thread(there.is_here, SESSION, OTHER)
        with pytest.raises(NotFound, match=f"has no snapshot {NAME}:vps-{SESSION}-{UID}"):
            await _restore(there, source)


async def test_an_interrupted_transfer_goes_on_where_it_ended(source: Place, host: str) -> None:
    async def half() -> AsyncIterator[bytes]:
        yield FILES[:1000]
        raise Unavailable("the connection broke")

    async with holder(host) as there:
        arrival, (files, _) = await _arrive(there, source)
        with pytest.raises(Unavailable, match="the connection broke"):
            await there.receive(arrival, files.part, half(), lambda _: None)
        assert not await asyncio.to_thread(there.is_here, SESSION, UID)
        _, missing = await _arrive(there, source)
        assert [part.have for part in missing] == [1000, 0]
        await _copy(there, source)
        assert await asyncio.to_thread(there.is_here, SESSION, UID)


async def test_bytes_that_arrive_damaged_are_not_kept(source: Place, host: str) -> None:
    async def flipped() -> AsyncIterator[bytes]:
        yield FILES[:-1] + b"?"

    async def more() -> AsyncIterator[bytes]:
        yield FILES + b"?"

    async with holder(host) as there:
        arrival, (files, _) = await _arrive(there, source)
        for damaged in (flipped, more):
            with pytest.raises(DataLoss, match="the files of the snapshot arrived damaged"):
                await there.receive(arrival, files.part, damaged(), lambda _: None)
        assert [part.have for part in (await _arrive(there, source))[1]] == [0, 0]


async def test_damage_at_the_registry_is_refused(source: Place, host: str, data: Path, tmp_path: Path) -> None:
    async with holder(host) as there:
        await _copy(there, source)
        blobs = {path: path.read_bytes() for path in data.rglob("blobs/**/data")}
        note = next(path for path, content in blobs.items() if b'"run"' in content)
        files = next(path for path, content in blobs.items() if content == FILES)
        files.write_bytes(FILES[:-1] + b"?")
        with pytest.raises(DataLoss, match="the files of the snapshot arrived damaged"):
            await _restore(there, Place(tmp_path / "target"))
        files.unlink()
        assert not await asyncio.to_thread(there.is_here, SESSION, UID)
        with pytest.raises(NotFound, match=f"registry {host} has no {NAME}/blobs/sha256:"):
            await _restore(there, Place(tmp_path / "target"))
        note.write_bytes(blobs[note].replace(b'"run"', b'"ran"'))
        with pytest.raises(DataLoss, match=f"of registry {host} is damaged: its checksum does not match"):
            await _restore(there, source)


async def test_a_repository_has_one_runner(source: Place, host: str) -> None:
    async with holder(host) as there, holder(host, "another") as other:
        await there.claim()
        await there.claim()
        with pytest.raises(ConfigError, match=f"repository {host}/{NAME} belongs to runner {OWNER}"):
            await other.claim()
        with pytest.raises(ConfigError):
            await _copy(other, source)


async def test_a_registry_wants_the_right_login(source: Place) -> None:
    with registry(password=True) as host:
        async with holder(host) as there:
            await _copy(there, source)
            assert await asyncio.to_thread(there.is_here, SESSION, UID)
        for password in ("", "wrong"):
            async with holder(host, password=password) as there:
                await there.claim()  # it starts all the same
                with pytest.raises(NotPermitted, match="netvps registry login HOST") as refused:
                    await _arrive(there, source)
                assert not password or password not in str(refused.value)


async def test_a_registry_that_is_gone_or_silent_is_said(source: Place) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    async with holder(f"127.0.0.1:{port}") as there:
        await there.claim()
        with pytest.raises(Unavailable, match=f"registry 127.0.0.1:{port} cannot be reached .*; copies on other"):
            await _arrive(there, source)
    with silent_registry() as host:
        async with holder(host) as there:
            with pytest.raises(TimedOut, match=f"registry {host} sent nothing for 0 s"):
                await _arrive(there, source)


async def test_one_that_stalls_in_mid_transfer_is_said_in_time_and_goes_on_where_it_stood(
    source: Place, host: str, tmp_path: Path
) -> None:
    target = Place(tmp_path / "target")
    with stalling(host, len(FILES) // 2) as (address, flows):
        async with holder(address) as there:
            await _copy(there, source)
            with pytest.raises(TimedOut, match=f"registry {address} sent nothing for 0 s; it is tried again"):
                await _restore(there, target)
            assert not await asyncio.to_thread(target.travelling.is_here, SESSION, UID)
            arrival = await target.travelling.arriving(SESSION, UID, await _whole(there, CopyPart.NOTE))
            assert (await target.travelling.missing(arrival))[0].have > 0
            flows.set()
            await _restore(there, target)
    assert target.snapshots.archive(SESSION, UID).read_bytes() == FILES


async def test_a_registry_that_does_not_delete_is_said(source: Place) -> None:
    with registry(deletes=False) as host:
        async with holder(host) as there:
            await _copy(there, source)
            with pytest.raises(WrongState, match=r"has to let snapshots be deleted \(storage.delete.enabled\)"):
                await there.drop(SESSION, UID)
