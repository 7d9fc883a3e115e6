"""`netvps ssh-proxy` between pipes and a gateway that keeps the rules, dies, or lies."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, Self

import pytest

from netvps.cli.proxy import ssh_proxy
from netvps.cli.proxy.carrier import Pipes
from netvps.cli.proxy.door import Door, Left
from netvps.cli.proxy.ssh_proxy import Proxy
from netvps.cli.server.contexts import Context
from netvps.domain.proxy import GREETING, Word, line
from netvps.domain.resumable import OPEN_SIZE, RESUME_SIZE
from netvps.errors import NetvpsError, Unavailable, WrongState
from tests.support.resumable_agent import AgentEnd, counts, frame

Serve = Callable[[socket.socket, int], None]
OPEN = line(Word.OPEN)


@dataclass
class Gateway:
    """Serves each connection by `serve`, with its number."""

    serve: Serve
    tickets: list[bytes] = field(default_factory=list)
    attachments: list[tuple[str, bytes]] = field(default_factory=list)
    errors: list[NetvpsError] = field(default_factory=list)
    """Of the API, for the next tickets."""
    said: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)

    def _run(self) -> None:
        number = 0
        with suppress(OSError):
            while True:
                sock, _ = self._listening.accept()
                with sock, suppress(OSError):
                    sock.sendall(b"SSH-2.0-netvps\r\n")
                    greeting = sock.makefile("rb", buffering=0).readline()
                    assert greeting.startswith(GREETING)
                    self.tickets.append(greeting.removeprefix(GREETING).strip())
                    number += 1
                    self.serve(sock, number)

    def door(self, host: str = "dev1") -> Door:
        return Door(lambda: nullcontext(self), Context("lab", "gw:7443"), host, self.said.append)  # type: ignore[arg-type, return-value]

    # As the API's client

    def server_info(self) -> Any:
        port = self._listening.getsockname()[1]
        return type("Info", (), {"ssh_address": f"127.0.0.1:{port}", "names": ()})

    def issue_ssh_ticket(self, host: str, attachment: bytes) -> str:
        self.attachments.append((host, attachment))
        if self.errors:
            raise self.errors.pop(0)
        return f"ticket{len(self.attachments)}"


class Client:
    """The SSH client's ends of the pipes."""

    def __init__(self) -> None:
        source, self.input = os.pipe()
        self.output, sink = os.pipe()
        self.pipes = Pipes(source, sink)
        self.got = b""

    @contextmanager
    def running(self, gateway: Gateway) -> Iterator[list[str | BaseException]]:
        """Runs the proxy; the list gets its reason, or error."""
        ended: list[str | BaseException] = []

        def work() -> None:
            try:
                with self.pipes:
                    ended.append(Proxy(gateway.door(), self.pipes).run())
            except (NetvpsError, OSError, Left) as error:
                ended.append(error)
            finally:
                os.close(self.pipes.sink)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield ended
            while piece := os.read(self.output, 1 << 16):
                self.got += piece
        finally:
            self.leave()
            thread.join(20)
        assert not thread.is_alive()

    def leave(self) -> None:
        if self.input >= 0:
            os.close(self.input)
            self.input = -1


def ends(agent: AgentEnd, after: int, total: int) -> Serve:
    """An agent that hears `after` bytes on each of three connections, and the rest of `total` on the fourth."""

    def serve(sock: socket.socket, number: int) -> None:
        sock.sendall(OPEN + agent.attach())
        heard = 0
        while len(agent.got) < total and (data := sock.recv(4096)):
            agent.feed(data)
            heard += len(data)
            if (frames := agent.data(5000)) and number < 4 and heard > after:
                sock.sendall(frames[: len(frames) // 2])  # it dies in mid-frame
                return
            sock.sendall(frames)
        while frames := agent.data():
            sock.sendall(frames)
        sock.sendall(frame(b"C"))
        while data := sock.recv(4096):
            agent.feed(data)

    return serve


def test_bytes_go_on_where_they_were_over_gateways_that_die(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(ssh_proxy, "_say", said.append)
    up, agent = os.urandom(300_000), AgentEnd(os.urandom(200_000))
    with Gateway(ends(agent, 30_000, len(up))) as gateway:
        client = Client()
        with client.running(gateway) as ended:
            view = memoryview(up)
            while view:
                view = view[os.write(client.input, view[:10_000]) :]
    assert ended == [""]
    assert (agent.got, client.got, agent.over) == (up, agent.said, True)
    sizes = [len(attachment) for _, attachment in gateway.attachments]
    assert sizes == [OPEN_SIZE, RESUME_SIZE, RESUME_SIZE, RESUME_SIZE]
    assert len({attachment for _, attachment in gateway.attachments}) == 4
    assert gateway.tickets == [b"ticket1", b"ticket2", b"ticket3", b"ticket4"]
    assert said[1::2] == ["the connection goes on"] * 3
    assert all(each.startswith("the connection broke (") for each in said[::2])


def test_it_tries_again_until_the_server_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_proxy, "_PAUSES", (0.001,))
    monkeypatch.setattr(ssh_proxy, "_say", lambda _: None)

    def serve(sock: socket.socket, number: int) -> None:
        if number == 2:
            sock.sendall(line(Word.LATER, "the session's agent is not connected"))
        elif number != 3:
            sock.sendall(OPEN + counts(0) + (frame(b"C") if number == 4 else b""))
            sock.recv(4096)
            assert restarting.wait(10)

    client, restarting = Client(), threading.Event()
    with Gateway(serve) as gateway, client.running(gateway) as ended:
        client_waits(gateway, 1)
        gateway.errors += [Unavailable("the server is restarting")] * 3
        restarting.set()
    assert ended == [""]
    assert len(gateway.attachments) == 7  # three errors, LATER, a connection that is closed, and two that open


def client_waits(gateway: Gateway, number: int) -> None:
    """Until the gateway has had so many connections."""
    done = threading.Event()
    while len(gateway.tickets) < number:
        done.wait(0.005)


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        (line(Word.REFUSED, "session dev1 is STOPPED"), WrongState, "session dev1 is STOPPED"),
        (line(Word.LATER, "too many"), Unavailable, "too many"),
        (b"", Unavailable, "the gateway closed the connection"),
        (b"Exceeded MaxStartups: too many connections\r\n", Unavailable, "Exceeded MaxStartups: too many"),
        (b"x" * 2000, Unavailable, "no gateway of netvps answers"),
        (OPEN + counts(1), Unavailable, "agent sent that it has 1 bytes"),
        (OPEN + frame(b"D", b"hello"), Unavailable, "agent sent bytes before their number"),
        (OPEN + frame(b"Q"), Unavailable, "a frame b'Q' of 0 bytes"),
    ],
)
def test_what_refuses_or_lies_ends_it(answer: bytes, error: type[NetvpsError], text: str) -> None:
    client = Client()
    with Gateway(lambda sock, _: sock.sendall(answer)) as gateway, client.running(gateway) as ended:
        pass
    assert isinstance(ended[0], error)
    assert text in str(ended[0])


def test_an_agent_that_forgot_the_connection_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssh_proxy, "_say", lambda _: None)
    forgot = line(Word.REFUSED, "the connection is not known here")
    client = Client()

    def serve(sock: socket.socket, number: int) -> None:
        sock.sendall(OPEN + counts(0) if number == 1 else forgot)

    with Gateway(serve) as gateway, client.running(gateway) as ended:
        pass
    assert isinstance(ended[0], WrongState)
    assert len(gateway.attachments) == 2


def test_the_agents_reason_is_the_result() -> None:
    client = Client()

    def serve(sock: socket.socket, _number: int) -> None:
        sock.sendall(OPEN + counts(0) + frame(b"C", b"because"))
        sock.recv(99)

    with Gateway(serve) as gateway, client.running(gateway) as ended:
        pass
    assert ended == ["because"]


def test_a_client_that_leaves_while_the_session_wakes_ends_it() -> None:
    client = Client()

    def serve(sock: socket.socket, _number: int) -> None:
        sock.sendall(line(Word.WAIT, "session dev1 is stopped: starting it"))
        assert sock.recv(1) == b""

    with Gateway(serve) as gateway, client.running(gateway) as ended:
        while not gateway.said:
            client_waits(gateway, 1)
        client.leave()
    assert isinstance(ended[0], Left)
    assert gateway.said == ["session dev1 is stopped: starting it"]


def test_a_client_that_reads_nothing_stops_the_agent_and_not_memory() -> None:
    """The window is that of the agent's end; what is beyond it is a lie."""
    client = Client()

    def serve(sock: socket.socket, _number: int) -> None:
        sock.sendall(OPEN + counts(0))
        for _ in range(40):
            sock.sendall(frame(b"D", bytes(262_144)))

    with Gateway(serve) as gateway, client.running(gateway) as ended:
        while not ended:
            client_waits(gateway, 1)
    assert "more than 4194304 bytes that were not read" in str(ended[0])


def test_the_command_ends_with_255_and_a_reason() -> None:
    program = "import sys\nfrom netvps.cli.app import run\nsys.exit(run(['ssh-proxy', 'nosuch']))"
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"NETVPS_SOCKET": "/nonexistent/api.sock"},
        stdin=subprocess.PIPE,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (255, b"")
    assert ended.stderr.startswith(b"netvps: no netvps server answers")
