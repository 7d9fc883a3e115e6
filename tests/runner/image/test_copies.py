"""Images from runner to runner, with a machine and a connection that are fakes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, cast

import pytest

from netvps.domain.image.copies import ImageRequest, MissingLayer
from netvps.errors import DataLoss, Exhausted, NetvpsError, NotFound, Unavailable
from netvps.runner.image import copies as module
from netvps.runner.image.copies import ImageCopies
from tests.runner.lab import ScriptedLink

REFERENCE = "netvps/dev:latest"
ID, BASE, TOP = (f"sha256:{digit * 64}" for digit in "abc")
LAYERS = {BASE: b"base layer", TOP: b"top layer"}


class Images:
    """The images of a machine, which has the lowest layer; an arrival is its description."""

    def __init__(self) -> None:
        self.arrived: dict[str, bytes] = {}
        self.loaded: list[list[str]] = []
        self.wants_all = False
        self.damaged = False

    async def read(self, request: ImageRequest) -> AsyncGenerator[bytes, None]:
        yield LAYERS[request.layer][request.offset :] if request.layer else b"described"

    async def arriving(self, reference: str, description: bytes) -> str:
        assert (reference, description) == (REFERENCE, b" described")
        return reference

    def image_id(self, arrival: str) -> str:
        return ID

    async def missing(self, arrival: str, *, all_layers: bool) -> list[MissingLayer]:
        wanted = [BASE, TOP] if all_layers else [TOP]
        return [MissingLayer(one, len(LAYERS[one]), len(self.arrived.get(one, b""))) for one in wanted]

    async def receive(
        self, arrival: str, layer: str, pieces: AsyncIterator[bytes], progress: Callable[[int], None]
    ) -> None:
        async for piece in pieces:
            self.arrived[layer] = self.arrived.get(layer, b"") + piece
            progress(len(piece))
        if self.damaged:
            raise DataLoss("its checksum does not match")

    async def finish(self, arrival: str) -> bool:
        self.loaded.append(sorted(self.arrived))
        return not self.wants_all or len(self.arrived) == len(LAYERS)


class Link(ScriptedLink):
    """Reads from a runner called "source"."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[ImageRequest, str]] = []
        self.breaks: list[Exception] = []
        self.sent: dict[str, bytes | str] = {}

    async def read_image(self, request: ImageRequest, source: str) -> AsyncGenerator[tuple[str, bytes], None]:
        self.asked.append((request, source))
        yield "source", b""
        if not request.layer:
            yield "", b" "
            yield "", b"described"
            return
        content = LAYERS[request.layer][request.offset :]
        yield "", content[:4]
        if self.breaks:
            raise self.breaks.pop()
        yield "", content[4:]

    async def send_copy(self, stream_id: str, pieces: AsyncIterator[bytes]) -> None:
        try:
            self.sent[stream_id] = b"".join([piece async for piece in pieces])
        except Exhausted as error:
            self.sent[stream_id] = error.message
            raise


class Place:
    def __init__(self) -> None:
        self.images, self.link = Images(), Link()
        self.copies = ImageCopies[str](self.images, cast("Any", self.link))

    async def fetch(self) -> list[str]:
        async with aclosing(self.copies.fetch(REFERENCE)) as steps:
            return [step.line async for step in steps]


@pytest.fixture
def place() -> Place:
    return Place()


async def test_only_layers_that_are_missing_are_fetched(place: Place) -> None:
    lines = await place.fetch()
    assert place.images.loaded == [[TOP]]
    assert place.images.arrived == {TOP: LAYERS[TOP]}
    asked = [(request.image, request.layer, source) for request, source in place.link.asked]
    assert asked == [("", "", ""), (ID, TOP, "source")]  # all of it from one runner
    assert lines[0] == f"copying {REFERENCE} from another runner: 0 MB of 1 MB, 0 of 1 layers"
    assert lines[-1] == f"copying {REFERENCE} from another runner: 0 MB of 1 MB, 1 of 1 layers"


async def test_an_engine_that_needs_all_layers_gets_them(place: Place) -> None:
    place.images.wants_all = True
    await place.fetch()
    assert place.images.loaded == [[TOP], [BASE, TOP]]


async def test_after_a_break_it_goes_on_where_it_ended(place: Place) -> None:
    place.link.breaks = [Unavailable("the connection broke")]
    with pytest.raises(Unavailable):
        await place.fetch()
    await place.fetch()
    assert [request.offset for request, source in place.link.asked if source] == [0, 4]
    assert place.images.arrived == {TOP: LAYERS[TOP]}


async def test_a_damaged_layer_is_not_loaded(place: Place) -> None:
    place.images.damaged = True
    with pytest.raises(DataLoss):
        await place.fetch()
    assert place.images.loaded == []


async def test_a_description_without_an_end_is_refused(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_DESCRIPTION", 3)
    with pytest.raises(DataLoss, match="too large"):
        await place.fetch()


async def test_parts_are_sent_and_a_few_at_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    await place.copies.send(ImageRequest("one", REFERENCE, ID, TOP, 4))
    assert place.link.sent["one"] == LAYERS[TOP][4:]
    monkeypatch.setattr(module, "MAX_SENT", 0)
    await place.copies.send(ImageRequest("two", REFERENCE))
    assert place.link.sent["two"] == "too many images are copied from this runner: this one waits"


async def test_a_runner_that_finds_none_says_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nowhere(*_: object) -> AsyncGenerator[tuple[str, bytes], None]:
        yield "source", b""
        raise NotFound("no other runner that is online has it")

    monkeypatch.setattr(place.link, "read_image", nowhere)
    with pytest.raises(NetvpsError, match="no other runner"):
        await place.fetch()
