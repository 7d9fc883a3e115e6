"""Snapshots from runner to runner over real mTLS."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from netvps.domain.image.copies import ImageRequest
from netvps.domain.snapshot.copies import Copy, CopyPart, CopyRequest
from netvps.domain.snapshot.snapshot import Holder, Snapshot, SnapshotCause, SnapshotState
from netvps.errors import Exhausted, NotFound, NotPermitted, Unavailable
from netvps.rpc.servicers import copies
from netvps.tasks import Tasks
from tests.rpc.servicers.test_link import Process, process
from tests.rpc.site import soon

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.rpc.client.link_client import RunnerLink
    from tests.rpc.site import Machine, Site

SESSION, UID = "000000000000s", "0000000000001"
REQUEST = CopyRequest("", SESSION, UID, CopyPart.FILES, 3)
NOW = datetime(2026, 11, 30, tzinfo=UTC)


async def _ordered(site: Site) -> tuple[Machine, Machine]:
    """lab1 holds a snapshot that lab2 is to copy."""
    source, target = await site.join("lab1"), await site.join("lab2")
    holders = (Holder(source.uid, "lab1"),)
    snapshot = Snapshot(
        UID, SESSION, "dev1", "alice", "one", SnapshotCause.STOP, NOW, NOW, SnapshotState.READY, holders=holders
    )
    async with site.store.write("test") as tx:
        await tx.put(snapshot)
        await tx.put(Copy(UID, SESSION, target.uid, "lab2", NOW))
    return source, target


async def _read(link: RunnerLink, request: CopyRequest = REQUEST, source: str = "") -> tuple[str, bytes]:
    sender, content = "", b""
    async with aclosing(link.read_copy(request, source)) as pieces:  # type: ignore[type-var]
        async for runner, data in pieces:
            sender, content = sender or runner, content + data
    return sender, content


async def _send(runner: Process, pieces: AsyncIterator[bytes]) -> None:
    await soon(lambda: any(isinstance(message, CopyRequest) for message in runner.heard))
    request = next(message for message in runner.heard if isinstance(message, CopyRequest))
    assert (request.part, request.offset, request.snapshot) == (CopyPart.FILES, 3, UID)
    await runner.link.send_copy(request.stream_id, pieces)


async def _pieces() -> AsyncIterator[bytes]:
    for number in range(5):
        yield bytes([number]) * 200_000


async def _refused() -> AsyncIterator[bytes]:
    yield b"begun"
    raise NotFound("it is not on this machine")


async def test_a_part_goes_from_runner_to_runner(site: Site) -> None:
    source, target = await _ordered(site)
    async with process(site, source) as runner, site.link(target) as link, Tasks() as tasks:
        await runner.caught_up()
        tasks.start(_send(runner, _pieces()), name="sender")
        sender, content = await _read(link)
        assert sender == source.uid
        assert content == b"".join([piece async for piece in _pieces()])


async def test_a_holder_that_has_it_no_more_says_so(site: Site) -> None:
    source, target = await _ordered(site)
    async with process(site, source) as runner, site.link(target) as link, Tasks() as tasks:
        await runner.caught_up()
        tasks.start(_send(runner, _refused()), name="sender")
        with pytest.raises(NotFound, match="cannot send it: it is not on this machine"):
            await _read(link, source=source.uid)


async def test_only_a_runner_with_an_order_reads(site: Site) -> None:
    source, target = await _ordered(site)
    other = await site.join("lab3")
    for machine in (source, other):
        async with site.link(machine) as link:
            with pytest.raises(NotFound, match="this runner has no order to copy that snapshot"):
                await _read(link)
    async with site.link(target) as link:
        with pytest.raises(Unavailable, match=r"no runner that holds the snapshot is connected .*\(lab1\)"):
            await _read(link)
        with pytest.raises(NotFound, match="no runner waits for this part"):
            await link.send_copy("unknown", _pieces())


async def test_transfers_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = await _ordered(site)
    monkeypatch.setattr(copies, "MAX_OF_A_RUNNER", 0)
    async with process(site, source) as runner, site.link(target) as link:
        await runner.caught_up()
        with pytest.raises(Exhausted, match="too many snapshots and images are being copied"):
            await _read(link)


async def test_a_layer_of_an_image_goes_to_a_runner_that_needs_it(site: Site) -> None:
    source, target = await site.join("lab1"), await site.join("lab2")
    digest = "sha256:" + "a" * 64
    request = ImageRequest("", "netvps/dev:latest", digest, digest, 3)

    async def send(runner: Process) -> None:
        await soon(lambda: any(isinstance(message, ImageRequest) for message in runner.heard))
        heard = next(message for message in runner.heard if isinstance(message, ImageRequest))
        assert replace(heard, stream_id="") == request
        await runner.link.send_copy(heard.stream_id, _pieces())

    async with process(site, source) as runner, site.link(target) as link, Tasks() as tasks:
        await runner.caught_up()
        with pytest.raises(NotPermitted, match="no session of this runner is made from image"):
            await _image(link, request, source.uid)
        with site.services.images.sources.pulling(target.uid, "netvps/dev:latest"):
            tasks.start(send(runner), name="sender")
            assert await _image(link, request, source.uid) == b"".join([piece async for piece in _pieces()])
            with pytest.raises(NotFound, match="no other runner that is online has image"):
                await _image(link, ImageRequest("", "netvps/dev:latest"), "")


async def _image(link: RunnerLink, request: ImageRequest, source: str) -> bytes:
    async with aclosing(link.read_image(request, source)) as pieces:  # type: ignore[type-var]
        return b"".join([data async for _, data in pieces])
