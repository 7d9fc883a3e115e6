"""Fuzzes what strangers can send to the gateway before a login, and what is said on the private socket.

    python -m tests.gateway.fuzz_login SECONDS [SEED]

Prints how many inputs were tried; ends with the input that did what it must not: raise out of `data_received`, reach
the event loop's exception handler, log an unexpected exception, or leave a connection unbounded.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from typing import TYPE_CHECKING, Any, cast

import asyncssh
from asyncssh import SSHServer, SSHServerConnectionOptions
from asyncssh.packet import Boolean, Byte, NameList, String, UInt32

from netvps.gateway.ssh import pipe as ssh_pipe
from netvps.gateway.ssh.algorithms import encryption_algorithms, kex_algorithms
from netvps.gateway.ssh.pipe import Downstream
from netvps.gateway.worker import wire as worker_wire

if TYPE_CHECKING:
    from netvps.gateway.ssh.connection import SshConnection

ALLOWED = (asyncssh.Error, asyncssh.misc.DisconnectError, UnicodeDecodeError, ValueError)


class Transport(asyncio.Transport):
    """Takes everything, and notes what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False
        self.written = 0

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.1", 1) if name in {"peername", "sockname"} else default

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        self.written += len(data)

    def write_eof(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


def packet(dice: random.Random, payload: bytes) -> bytes:
    padding = dice.choice([dice.randrange(256), 8 + (-len(payload) - 13) % 8])
    length = len(payload) + padding + 1 if dice.random() < 0.95 else dice.randrange(1 << dice.randrange(1, 33))
    return length.to_bytes(4) + bytes([padding]) + payload + bytes(padding)


def kexinit(dice: random.Random) -> bytes:
    def names() -> bytes:
        known = [name.encode() for name in (*kex_algorithms(), *encryption_algorithms(), "ssh-ed25519", "none")]
        if dice.random() < 0.1:
            return String(dice.randbytes(dice.randrange(40)))
        return NameList(dice.sample(known, dice.randrange(1, len(known))))

    kex = NameList([b"curve25519-sha256", b"kex-strict-c-v00@openssh.com"][: dice.randrange(1, 3)])
    lists = [kex if dice.random() < 0.7 else names(), NameList([b"ssh-ed25519"]), *(names() for _ in range(8))]
    return Byte(20) + dice.randbytes(16) + b"".join(lists) + Boolean(dice.random() < 0.2) + UInt32(0)


def payload(dice: random.Random) -> bytes:
    match dice.randrange(5):
        case 0:
            return kexinit(dice)
        case 1:
            return Byte(30) + String(dice.randbytes(dice.choice([0, 31, 32, 33])))
        case 2:
            return Byte(21)
        case 3:
            return Byte(dice.randrange(256)) + b"".join(String(dice.randbytes(8)) for _ in range(dice.randrange(4)))
        case _:
            return dice.randbytes(dice.randrange(64))


def stream(dice: random.Random) -> bytes:
    version = dice.choice([b"SSH-2.0-x\r\n", b"SSH-2.0-x\n", b"SSH-1.99-\n", b"SSH-2.0-\xff\n", dice.randbytes(20)])
    data = bytearray(version + b"".join(packet(dice, payload(dice)) for _ in range(dice.randrange(12))))
    for _ in range(dice.choice([0, 0, 1, 5])):
        if data:
            data[dice.randrange(len(data))] = dice.randrange(256)
    return bytes(data)


async def before_login(dice: random.Random, options: SSHServerConnectionOptions, errors: list[str]) -> None:
    connection = cast("SshConnection", SSHServer())  # accepts nothing
    leg, transport = Downstream(asyncio.get_running_loop(), options, connection), Transport()
    leg.connection_made(transport)
    data = stream(dice) * dice.choice([1, 1, 1, 40])
    while data and not transport.closed:
        size = dice.choice([1, 7, 300, 70_000])
        piece, data = data[:size], data[size:]
        leg.data_received(piece)
        if dice.random() < 0.2:
            await asyncio.sleep(0)
        waiting = len(leg._inpbuf) + sum(map(len, leg._unread))
        if waiting > ssh_pipe.LOGIN_BYTES:
            errors.append(f"{waiting} bytes wait before the login")
    for _ in range(5):
        await asyncio.sleep(0)
    if leg.lost is not None and not isinstance(leg.lost, ALLOWED):
        errors.append(f"ended by {leg.lost!r}")
    leg.abort()
    await asyncio.sleep(0)


def private_socket(dice: random.Random) -> None:
    decoder = worker_wire.Decoder()
    text = bytearray(worker_wire.encode(worker_wire.Authorize(1, "dev1", "", "root", "SHA256:x")) * dice.randrange(3))
    text += dice.randbytes(dice.randrange(20))
    for _ in range(dice.randrange(6)):
        text[dice.randrange(len(text) or 1) : 0] = dice.choice([b"[", b"{", b'"', b"\0\0\0\2{}", dice.randbytes(3)])
    decoder.feed(bytes(text))
    try:
        while decoder.next() is not None:
            pass
    except worker_wire.WireError:
        return


async def fuzz(seconds: float, seed: int) -> None:
    errors: list[str] = []

    def handle_exception(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        errors.append(repr(context))

    asyncio.get_running_loop().set_exception_handler(handle_exception)
    options = await SSHServerConnectionOptions.construct(
        config=None,
        server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
        compression_algs=None,
        gss_host=None,
        x509_trusted_certs=None,
        kex_algs=kex_algorithms(),
        encryption_algs=encryption_algorithms(),
        login_timeout=0,
    )
    until, number = time.monotonic() + seconds, seed
    while time.monotonic() < until:
        dice = random.Random(number)
        await before_login(dice, options, errors)
        private_socket(dice)
        if errors:
            sys.exit(f"input {number} (give it as SEED): {errors[0]}")
        number += 1
    sys.stdout.write(f"{number - seed} inputs, nothing found; the next seed is {number}\n")


if __name__ == "__main__":
    asyncio.run(fuzz(float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0))
