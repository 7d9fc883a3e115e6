"""Random and damaged input at every door that parses: each answer is an error of ours, in bounded time and memory.

By itself a few seconds each, always the same; NETVPS_FULL=1 takes NETVPS_FUZZ_SECONDS (600) for each, new every time.
"""

from __future__ import annotations

import asyncio
import gzip
import io
import os
import random
import tarfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
import pytest

from netvps.adapters.archive import pack, unpack
from netvps.domain.access.ssh_key import PublicKey
from netvps.domain.names import SshLogin
from netvps.errors import NetvpsError
from netvps.rpc.client.channel import OPTIONS, TLS_OPTIONS, channel_credentials
from tests.fakes.keys import ed25519
from tests.rpc.client.test_retries import described
from tests.rpc.site import open_site, soon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.rpc.site import Site

FULL: Final = bool(os.environ.get("NETVPS_FULL"))
SECONDS: Final = float(os.environ.get("NETVPS_FUZZ_SECONDS", "600")) if FULL else 2.0
SEED: Final = int.from_bytes(os.urandom(4)) if FULL else 1
AT_ONCE: Final = 8
TIMEOUT: Final = 20.0
GROWS_BY: Final = 400 << 20
BUGS: Final = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS}

SESSION_UID: Final = "0123456789abc"
WORDS: Final = (
    *("", "-", "me", "dev1", "dev1.root", "sessions/dev1", "sessions/dev1.alice", "users/me", "users/-", "users/alice"),
    *("runners/lab1", "lab1", "alice", "users/alice/sshKeys/x", "users/alice/apiKeys/x", "debian:12", "root", "xterm"),
    *("10.0.0.1", "10.128.0.0/22", "2001:db8::1", SESSION_UID, "nvj_a_b_c", "nv_a_b", "dial-1", ed25519(1)),
    *("\0", "\x1b[2J", "\u202e", "é" * 300, "x" * 5000, "../../etc/passwd", "%s%n", "{}", "a\nb", "\U0001f600"),
)
NUMBERS: Final = (0, 1, 2, -1, 80, 255, 256, 1 << 31, (1 << 31) - 1, -(1 << 31), (1 << 63) - 1, -(1 << 63), 1000, 576)
FLOATS: Final = (0.0, 1.5, -1.0, 1e308, float("inf"), float("-inf"), float("nan"), 1e-300)


def until(seconds: float, at_least: int = 0) -> Iterator[int]:
    """Numbers, for this many seconds, and at least this many on a busy machine."""
    end, number = time.monotonic() + seconds, 0
    while number < at_least or time.monotonic() < end:
        yield number
        number += 1


class Messages:
    """Random messages of the API, whole or damaged."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def encoded(self, kind: Any) -> bytes:
        """Bytes that may be a message of that kind."""
        if self._chance.random() < 0.05:
            return self._chance.randbytes(self._chance.randrange(200))
        wire: bytes = self.message(kind).SerializeToString()
        return damaged(wire, self._chance) if self._chance.random() < 0.2 else wire

    def message(self, kind: Any, depth: int = 0) -> Any:
        """A message whose fields have values that are right, extreme, or wrong."""
        from google.protobuf.message_factory import GetMessageClass

        message = GetMessageClass(kind)()
        for field in kind.fields:
            if self._chance.random() < (0.5 if depth else 0.8):
                self._set(message, field, depth)
        return message

    def _set(self, message: Any, field: Any, depth: int) -> None:
        entry = field.message_type is not None and field.message_type.GetOptions().map_entry
        count = self._chance.choice((0, 1, 1, 2, 3, 200)) if field.is_repeated else 1
        for _ in range(count):
            if entry:
                getattr(message, field.name)[self._chance.choice(WORDS)] = self._chance.choice(WORDS)
            elif field.message_type is not None:
                if depth < 3:
                    value = self.message(field.message_type, depth + 1)
                    target = getattr(message, field.name)
                    target.append(value) if field.is_repeated else target.CopyFrom(value)
            else:
                self._set_scalar(message, field)

    def _set_scalar(self, message: Any, field: Any) -> None:
        kinds = {
            field.CPPTYPE_STRING: WORDS,
            field.CPPTYPE_BOOL: (True, False),
            field.CPPTYPE_DOUBLE: FLOATS,
            field.CPPTYPE_FLOAT: FLOATS,
        }
        value: Any = self._chance.choice(kinds.get(field.cpp_type, NUMBERS))
        if field.type == field.TYPE_BYTES:
            value = self._chance.randbytes(self._chance.choice((0, 1, 100, 70_000)))
        try:
            if field.is_repeated:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
        except (ValueError, OverflowError):
            return  # out of the range of its type: it cannot be sent


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Bytes with some of them changed, cut, doubled or made up."""
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(changed) + 1)
        match chance.randrange(4):
            case 0:
                changed[at : at + 1] = chance.randbytes(1)
            case 1:
                del changed[at : at + chance.randint(1, 8)]
            case 2:
                changed[at:at] = chance.randbytes(chance.randint(1, 8))
            case 3:
                changed[at:at] = changed[at : at + 16]
    return bytes(changed)


async def answer(channel: grpc.aio.Channel, name: str, requests: list[bytes]) -> tuple[grpc.StatusCode, str]:
    """What comes of a call with these messages; one that goes on is broken off."""
    open_call: Any = channel.stream_stream("/netvps.api.v1.{}/{}".format(*name.split(".")), None, None)
    call = open_call(timeout=TIMEOUT)
    try:
        for request in requests:
            await call.write(request)
        if len(requests) % 2:
            await call.done_writing()
        async with asyncio.timeout(0.3):
            for _ in range(5):
                if await call.read() is grpc.aio.EOF:  # type: ignore[attr-defined]  # the stubs lack it
                    break
            return await call.code(), await call.details()
    except grpc.aio.AioRpcError as error:
        if error.details() == "Internal error from Core":  # of the client: it wrote to a call that had ended
            return grpc.StatusCode.OK, ""
        return error.code(), error.details() or ""
    except (TimeoutError, asyncio.InvalidStateError):
        return grpc.StatusCode.OK, ""
    finally:
        call.cancel()


async def channels(site: Site, stack: AsyncExitStack) -> dict[str, grpc.aio.Channel]:
    """A connection of each kind of caller, by the listener's services."""
    machine = await site.join()
    certificate, key = site.certificate_for(f"netvps://session/{SESSION_UID}/epoch/1")
    runner = channel_credentials(site.ca.certificate, machine.certificate, machine.key)
    agent = channel_credentials(site.ca.certificate, certificate, key)
    people = grpc.aio.insecure_channel(site.local.address, OPTIONS)
    found = {
        "RunnerLinkService": grpc.aio.secure_channel(site.link_address, runner, TLS_OPTIONS),
        "CertificateService": grpc.aio.secure_channel(site.link_address, runner, TLS_OPTIONS),
        "TunnelService": grpc.aio.secure_channel(site.link_address, agent, TLS_OPTIONS),
    }
    for channel in (people, *found.values()):
        await stack.enter_async_context(channel)
    others = {name.split(".")[0] for name in described()} - found.keys()
    return found | dict.fromkeys(others, people)


def resident() -> int:
    """Bytes of memory that this process has in use."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def test_no_message_brings_the_server_down(record_property: Any) -> None:
    methods, chance = described(), random.Random(SEED)
    messages, calls, before, wrong = Messages(chance), 0, 0, []
    hellos = {
        "RunnerLinkService.Connect": lambda kind: kind(hello={"instance_id": "one", "version": "1"}),
        "TunnelService.Control": lambda kind: kind(hello={"session_uid": SESSION_UID, "epoch": 1}),
        "TunnelService.DialBack": lambda kind: kind(open="dial-1"),
        "SessionService.ExecSession": lambda kind: kind(start={"name": "sessions/dev1.alice", "argv": ["true"]}),
    }

    def requests(name: str) -> list[bytes]:
        kind = methods[name].input_type
        count = chance.randint(1, 5) if methods[name].client_streaming else 1
        found = [messages.encoded(kind) for _ in range(count)]
        if name in hellos and chance.random() < 0.6:
            from google.protobuf.message_factory import GetMessageClass

            found.insert(0, hellos[name](GetMessageClass(kind)).SerializeToString())
        return found

    async with open_site() as site, AsyncExitStack() as stack:
        by_service = await channels(site, stack)
        for _ in until(SECONDS, at_least=15):
            names = [chance.choice(list(methods)) for _ in range(AT_ONCE)]
            sent = [(name, requests(name)) for name in names]
            answers = await asyncio.gather(
                *(answer(by_service[name.split(".")[0]], name, parts) for name, parts in sent)
            )
            calls += len(sent)
            for (name, parts), (code, details) in zip(sent, answers, strict=True):
                if code in BUGS or code is grpc.StatusCode.DEADLINE_EXCEEDED:
                    wrong.append(f"{name} {code.name} {details}: {[part.hex() for part in parts]}"[:3000])
            assert not wrong, f"seed {SEED}, after {calls} calls: {wrong}"
            before = before or resident()
        assert resident() - before < GROWS_BY
        assert (await site.do(lambda client: client.get_user())).name == "root"
        await soon(lambda: not site.server._calls._open)  # what was broken off is not counted any more
    record_property("calls", calls)


def test_no_key_and_no_login_is_more_than_refused(record_property: Any) -> None:
    chance, count = random.Random(SEED), 0
    lines = [ed25519(1).encode(), b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ==", b"sk-ssh-ed25519@openssh.com AAAA x"]
    for count in until(SECONDS / 2):  # noqa: B007 — reported below
        text = damaged(chance.choice(lines), chance).decode(errors=chance.choice(("replace", "surrogateescape")))
        for parse in (PublicKey.parse, SshLogin.parse):
            try:
                parse(text)
            except NetvpsError as error:
                assert len(str(error)) < 1000
    record_property("keys", count)


def test_no_archive_is_more_than_refused(tmp_path: Path, record_property: Any) -> None:
    """Damaged as a file, as a tar behind its compression, and in its manifest; nothing is written elsewhere."""
    chance, count = random.Random(SEED), 0
    (tmp_path / "in/ca").mkdir(parents=True)
    for name in ("netvps.db", "ca/key"):
        (tmp_path / "in" / name).write_bytes(os.urandom(600))
    pack(tmp_path / "in", tmp_path / "good", version="1", created="2026-01-01", cluster_id="c")
    whole = (tmp_path / "good").read_bytes()
    inner = gzip.decompress(whole)
    manifest = tarfile.open(fileobj=io.BytesIO(inner)).extractfile("manifest.json").read()  # type: ignore[union-attr]  # noqa: SIM115
    around = {"good", "in", "bad", "out"}
    for count in until(SECONDS):
        out = tmp_path / "out" / str(count)
        out.mkdir(parents=True)
        match chance.randrange(3):
            case 0:
                data = damaged(whole, chance)
            case 1:
                data = gzip.compress(damaged(inner, chance), 1)
            case _:
                data = _with_manifest(chance.choice((damaged(manifest, chance), b"[" * chance.choice((9, 100_000)))))
        (tmp_path / "bad").write_bytes(data)
        try:
            unpack(tmp_path / "bad", out)
        except NetvpsError as error:
            assert len(str(error)) < 2000
        assert {path.name for path in tmp_path.iterdir()} <= around
    record_property("archives", count)


def _with_manifest(manifest: bytes) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w:gz", compresslevel=1) as archive:
        member = tarfile.TarInfo("manifest.json")
        member.size = len(manifest)
        archive.addfile(member, io.BytesIO(manifest))
    return output.getvalue()


@pytest.mark.parametrize("wire", [b"\xff", b"\x0a\xff", b"\x0a\x02\xff\xfe"], ids=["tag", "length", "text"])
async def test_bytes_that_are_no_message_are_the_callers_fault(wire: bytes) -> None:
    async with open_site() as site, grpc.aio.insecure_channel(site.local.address, OPTIONS) as channel:
        code, details = await answer(channel, "SessionService.GetSession", [wire])
        assert (code, "not a message of this method" in details) == (grpc.StatusCode.INVALID_ARGUMENT, True)
        start = b"\x0a\x17\x0a\x0dsessions/dev1\x12\x04true"
        code, _ = await answer(channel, "SessionService.ExecSession", [start, wire])
        assert code in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}
