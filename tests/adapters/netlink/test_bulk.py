"""Many requests in few calls, on loopback in a namespace of its own."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

import pytest

from netvps.adapters.netlink import bulk
from netvps.adapters.netlink.bulk import BulkSocket
from netvps.adapters.netlink.entries import Own, dump_routes, encode
from netvps.adapters.netlink.wire import HEADER
from netvps.domain.overlay.kernel import operations as op
from netvps.domain.overlay.kernel.links import Route
from netvps.errors import TimedOut, Unavailable
from tests.support.namespaces import namespace

pytestmark = pytest.mark.netns
OWN = Own(1, 201)


@pytest.fixture
def opened() -> Iterator[BulkSocket]:
    with namespace() as made, made.inside(), BulkSocket() as opened:
        yield opened


def put(number: int) -> bytes:
    return encode(op.PutRoute(f"10.{number // 256}.{number % 256}.0/24", Route()), OWN)


def test_each_refusal_is_matched_with_its_request(opened: BulkSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_CHUNK", 200)  # so that there are many
    gone = encode(op.DropRoute("192.168.77.0/24"), OWN)
    requests = [gone if number % 7 == 0 else put(number) for number in range(100)]
    refused = [refusal.errno if refusal else 0 for refusal in opened.request(requests)]
    assert refused == [errno.ESRCH if number % 7 == 0 else 0 for number in range(100)]
    assert len(opened.dump(dump_routes())) == 85


def test_nothing_is_no_work(opened: BulkSocket) -> None:
    assert opened.request([]) == []


class Deaf:
    """A socket whose answers do not come."""

    def __init__(self, error: OSError) -> None:
        self.error = error
        self.closed = False

    def send(self, data: bytes) -> int:
        return len(data)

    def recv(self, _size: int) -> bytes:
        raise self.error

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("error", "raised", "said"),
    [
        (TimeoutError(), TimedOut, "did not answer in 20 s"),
        (OSError(errno.ENOBUFS, "No buffer space available"), Unavailable, "the receive buffer overflowed"),
    ],
)
def test_a_socket_that_lost_answers_is_replaced(
    opened: BulkSocket, error: OSError, raised: type[Exception], said: str
) -> None:
    opened._socket.close()
    deaf = Deaf(error)
    opened._socket = deaf  # type: ignore[assignment]
    with pytest.raises(raised, match=said):
        opened.request([put(1)])
    assert deaf.closed
    assert isinstance(opened._socket, socket.socket)
    assert opened.request([put(1)]) == [None]


def test_a_dump_that_was_changed_meanwhile_is_made_again(opened: BulkSocket, monkeypatch: pytest.MonkeyPatch) -> None:
    dumps = iter([None, None, [(24, b"")]])
    monkeypatch.setattr(opened, "_dump", lambda _request: next(dumps))
    assert opened.dump(dump_routes()) == [(24, b"")]
    monkeypatch.setattr(opened, "_dump", lambda _request: None)
    with pytest.raises(Unavailable, match="it changed during each of several reads"):
        opened.dump(dump_routes())


def test_a_kernel_that_does_not_tell(opened: BulkSocket) -> None:
    request = bytearray(dump_routes())
    request[HEADER.size + 4] = 77  # a table that is not there
    with pytest.raises(Unavailable, match="cannot read the kernel's network: "):
        opened.dump(bytes(request))
