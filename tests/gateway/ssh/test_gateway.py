"""Stock SSH clients through the gateway, to a session whose SSH server is OpenSSH's."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shlex
import signal
from pathlib import Path

import asyncssh
import pytest
import uvloop

from netvps.domain.session.session import SessionState
from netvps.errors import ConfigError
from netvps.gateway.ssh.gateway import ConnectionLimits
from netvps.gateway.ssh.listener import listen_at
from tests.gateway.conftest import Ran, Sshd, World, a_world, free_port, new_key, run
from tests.support.patience import PATIENCE

MIB = 1 << 20


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def blob() -> bytes:
    """100 MiB that no compression helps with."""
    return os.urandom(100 * MIB)


@pytest.mark.parametrize("code", [0, 1, 255])
async def test_exit_codes_arrive(world: World, code: int) -> None:
    assert await run(world.ssh(f"echo out; echo err >&2; exit {code}")) == Ran(code, b"out\n", b"err\n")


async def test_death_by_signal_arrives(world: World) -> None:
    ran = await run(world.ssh("-v", "kill -TERM $$"), timeout=20)
    assert ran.code == 255
    assert b"exit-signal" in ran.err


async def test_a_hundred_megabytes_up_and_down_are_the_same(world: World, blob: bytes) -> None:
    up = await run(world.ssh("sha256sum"), blob)
    assert up.out.split()[0].decode() == digest(blob)
    (world.folder / "blob").write_bytes(blob)
    down = await run(world.ssh(f"cat {world.folder}/blob"))
    assert digest(down.out) == digest(blob)


async def test_half_close(world: World) -> None:
    ran = await run(world.ssh("cat; echo after"), b"before\n")
    assert ran == Ran(0, b"before\nafter\n", b"")


async def test_terminal_with_its_size(world: World) -> None:
    ran = await run(["script", "-qec", " ".join(world.ssh("-tt", "tty; stty size")), "/dev/null"])
    assert b"/dev/pts/" in ran.out
    assert ran.code == 0


async def test_keys_are_renewed_on_both_sides_while_data_flows(sshd: Sshd, tmp_path: Path) -> None:
    data = os.urandom(20 * MIB)
    async with a_world(sshd, tmp_path, rekey_bytes=MIB) as world:
        ran = await run(world.ssh("-v", "-o", "RekeyLimit=700K", "cat"), data)
    assert digest(ran.out) == digest(data)
    assert ran.code == 0
    assert ran.err.count(b"SSH2_MSG_NEWKEYS received") > 20


async def test_sftp_both_ways(world: World, blob: bytes) -> None:
    (world.folder / "up").write_bytes(blob)
    batch = f"put {world.folder}/up {world.folder}/there\nget {world.folder}/there {world.folder}/back\n"
    argv = ["sftp", *world.ssh_options(), "-P", str(world.gateway.port), "-b", "-", "dev1@127.0.0.1"]
    ran = await run(argv, batch.encode())
    assert ran.code == 0, ran.err
    assert digest((world.folder / "back").read_bytes()) == digest(blob)


@pytest.mark.parametrize("protocol", ["-s", "-O"])
async def test_scp_both_ways(world: World, protocol: str) -> None:
    data = os.urandom(5 * MIB)
    (world.folder / "up").write_bytes(data)
    base = ["scp", protocol, *world.ssh_options(), "-P", str(world.gateway.port)]
    there = f"dev1.alice@127.0.0.1:{world.folder}/there"
    assert (await run([*base, str(world.folder / "up"), there])).code == 0
    assert (await run([*base, there, str(world.folder / "back")])).code == 0
    assert digest((world.folder / "back").read_bytes()) == digest(data)


async def test_rsync_both_ways(world: World) -> None:
    (world.folder / "up").mkdir()
    for number in range(50):
        (world.folder / "up" / str(number)).write_bytes(os.urandom(50_000))
    shell = " ".join(["ssh", *world.ssh_options(), "-p", str(world.gateway.port)])
    base = ["rsync", "-a", "-e", shell]
    assert (await run([*base, f"{world.folder}/up/", f"dev1@127.0.0.1:{world.folder}/there/"])).code == 0
    assert (await run([*base, f"dev1@127.0.0.1:{world.folder}/there/", f"{world.folder}/back/"])).code == 0
    for number in range(50):
        assert (world.folder / "back" / str(number)).read_bytes() == (world.folder / "up" / str(number)).read_bytes()


async def echo_server(path: str | None = None) -> tuple[asyncio.Server, int]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.write(b"!")
        writer.close()

    if path is not None:
        return await asyncio.start_unix_server(echo, path), 0
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def connect(
    process: asyncio.subprocess.Process, port: int, path: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connects to a forward once it listens."""
    while process.returncode is None:
        try:
            return await (asyncio.open_unix_connection(path) if path else asyncio.open_connection("127.0.0.1", port))
        except OSError:
            await asyncio.sleep(0.02)
    raise AssertionError(f"ssh ended with {process.returncode}")


async def ask_through(world: World, *options: str, port: int = 0, path: str = "") -> bytes:
    """Opens a forward, sends some data and an end of file through it, and returns the answer."""
    argv = world.ssh("-o", "ExitOnForwardFailure=yes", *options, "-N")
    process = await asyncio.create_subprocess_exec(*argv)
    try:
        async with asyncio.timeout(PATIENCE):
            reader, writer = await connect(process, port, path)
            writer.write(b"x" * 300_000)
            writer.write_eof()
            answer = await reader.read()
            writer.close()
            return answer
    finally:
        process.terminate()
        await process.wait()


async def test_local_forward_with_half_close(world: World) -> None:
    server, target = await echo_server()
    port = free_port()
    async with server:
        assert await ask_through(world, "-L", f"{port}:127.0.0.1:{target}", port=port) == b"x" * 300_000 + b"!"


async def test_remote_forward_with_half_close(world: World) -> None:
    server, target = await echo_server()
    port = free_port()
    async with server:
        assert await ask_through(world, "-R", f"{port}:127.0.0.1:{target}", port=port) == b"x" * 300_000 + b"!"


async def test_unix_socket_forward(world: World) -> None:
    server, _ = await echo_server(str(world.folder / "target"))
    path = str(world.folder / "here")
    async with server:
        answer = await ask_through(world, "-L", f"{path}:{world.folder}/target", path=path)
    assert answer == b"x" * 300_000 + b"!"


async def test_agent_forwarding(world: World) -> None:
    inner = shlex.join(world.ssh("-A", "ssh-add -l", options=("-o", "IdentityAgent=SSH_AUTH_SOCK")))
    ran = await run(["ssh-agent", "sh", "-c", f"ssh-add -q {world.key}; {inner}"])
    fingerprint = asyncssh.read_private_key(str(world.key)).get_fingerprint()
    assert fingerprint.encode() in ran.out, ran


async def test_control_master(world: World) -> None:
    control = ("-o", f"ControlPath={world.folder}/mux")
    master = await asyncio.create_subprocess_exec(*world.ssh("-N", "-M", options=control))
    async with asyncio.timeout(PATIENCE):
        while not (world.folder / "mux").exists():
            await asyncio.sleep(0.01)
    ran = await asyncio.gather(*(run(world.ssh(f"exit {n}", options=control)) for n in range(5)))
    assert [one.code for one in ran] == list(range(5))
    assert len(world.agent.requests) == 1
    await run(world.ssh("-O", "exit", options=control))
    await master.wait()


async def test_dropbear_client(world: World) -> None:
    key = world.folder / "dropbear"
    await run(["dropbearkey", "-t", "ed25519", "-f", str(key)])
    public = (await run(["dropbearkey", "-y", "-f", str(key)])).out.decode().splitlines()[1]
    world.authorizer.keys[asyncssh.import_public_key(public).get_fingerprint()] = "alice"
    argv = ["dbclient", "-y", "-y", "-i", str(key), "-p", str(world.gateway.port), "dev1@127.0.0.1"]
    ran = await run([*argv, "cat; exit 7"], b"x" * MIB)
    assert (ran.code, ran.out) == (7, b"x" * MIB), ran.err
    world.set_state(SessionState.STOPPED)
    assert b"start it with: netvps start dev1" in (await run([*argv, "true"])).err


async def test_plink(world: World) -> None:
    ppk = world.folder / "id.ppk"
    await run(["puttygen", str(world.key), "-O", "private", "-o", str(ppk), "--new-passphrase", "/dev/null"])
    base = ["plink", "-batch", "-i", str(ppk), "-P", str(world.gateway.port)]
    probe = await run([*base, "dev1@127.0.0.1", "true"])
    fingerprint = next(word for word in probe.err.decode().split() if word.startswith("SHA256:"))
    ran = await run([*base, "-hostkey", fingerprint, "dev1@127.0.0.1", "cat; exit 7"], b"x" * MIB)
    assert (ran.code, ran.out) == (7, b"x" * MIB), ran.err


async def test_other_unix_users_are_the_agents_to_judge(world: World) -> None:
    ran = await run(world.ssh("true", login="dev1+nobody"))
    assert ran.code == 255
    assert b"session dev1 cannot be reached: it lets no one in as nobody" in ran.err


@pytest.mark.parametrize("login", ["dev1", "nosuch", "dev1.bob", "BAD name"])
async def test_a_wrong_key_and_a_wrong_session_look_the_same(world: World, login: str) -> None:
    stranger = new_key(world.folder / "stranger")
    ran = await run(world.ssh("true", login=login, key=stranger))
    assert ran.code == 255
    assert ran.err.decode().splitlines()[-1] == f"{login}@127.0.0.1: Permission denied (publickey)."


async def test_a_foreign_session_looks_like_none(world: World) -> None:
    ran = [await run(world.ssh("true", login=login)) for login in ("nosuch", "dev1.bob")]
    assert {one.err.decode().splitlines()[-1].partition(": ")[2] for one in ran} == {"Permission denied (publickey)."}


async def test_the_right_key_is_found_among_several(world: World) -> None:
    others = [new_key(world.folder / f"other{n}") for n in range(4)]
    options = tuple(part for other in others for part in ("-i", str(other)))
    ran = await run(["ssh", *options, *world.ssh("true")[1:]])
    assert ran.code == 0


async def test_too_many_keys_are_refused_as_by_sshd(world: World) -> None:
    others = [new_key(world.folder / f"other{n}") for n in range(9)]
    options = tuple(part for other in others for part in ("-i", str(other)))
    ran = await run(["ssh", *options, *world.ssh("true")[1:]])
    assert ran.code == 255
    assert b"Too many authentication failures" in ran.err


async def test_a_stopped_session_says_so(world: World) -> None:
    world.set_state(SessionState.STOPPED)
    ran = await run(world.ssh("true"))
    assert ran.code == 255
    assert b"session dev1 is STOPPED: start it with: netvps start dev1" in ran.err
    assert not world.agent.requests


async def test_a_session_that_is_not_there_in_time_says_so(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.gateway.tunnel.tunnels.CONNECT_TIMEOUT", 0.1)
    await world.agent.__aexit__()
    ran = await run(world.ssh("true"))
    assert ran.code == 255
    assert b"session dev1 cannot be reached: the session's agent is not connected" in ran.err


async def test_the_session_dying_midway_says_so(world: World) -> None:
    process = await asyncio.create_subprocess_exec(
        *world.ssh("echo up; sleep 60"), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    for connection in world.agent.connections:
        connection.transport.abort()
    _, err = await process.communicate()
    assert process.returncode == 255
    assert b"session dev1 went away" in err


async def test_a_stalled_reader_stalls_the_sender_and_not_memory(world: World) -> None:
    process = await asyncio.create_subprocess_exec(
        *world.ssh("-o", "IPQoS=none", "cat /dev/zero"), stdout=asyncio.subprocess.PIPE, limit=MIB
    )
    assert process.stdout is not None
    await process.stdout.readexactly(4 * MIB)
    process.send_signal(signal.SIGSTOP)
    try:
        (connection,) = world.gateway._connections
        assert connection.upstream is not None
        before = -1
        async with asyncio.timeout(PATIENCE):
            while before != connection.upstream.passed:
                before = connection.upstream.passed
                await asyncio.sleep(0.5)
        transport = connection.downstream._transport
        assert transport is not None
        assert transport.get_write_buffer_size() < MIB
        assert len(connection.upstream._inpbuf) < MIB
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        await process.wait()


async def test_a_stalled_session_stalls_the_client_and_not_memory(world: World) -> None:
    process = await asyncio.create_subprocess_exec(*world.ssh("exec sleep 60"), stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2):
                while True:
                    process.stdin.write(b"x" * MIB)
                    await process.stdin.drain()
        (connection,) = world.gateway._connections
        assert connection.downstream.passed < 8 * MIB
    finally:
        process.kill()
        await process.wait()


async def test_many_connections_at_once(world: World) -> None:
    ran = await asyncio.gather(*(run(world.ssh(f"echo {n}; exit {n}")) for n in range(20)))
    assert [(one.code, one.out) for one in ran] == [(n, f"{n}\n".encode()) for n in range(20)]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (ConnectionLimits(per_user=1), b"alice has 1 connections already: close some"),
        (ConnectionLimits(per_session=1), b"session dev1 has 1 connections already: close some"),
    ],
)
async def test_users_and_sessions_have_limits(
    sshd: Sshd, tmp_path: Path, limits: ConnectionLimits, reason: bytes
) -> None:
    async with a_world(sshd, tmp_path, limits=limits) as world:
        process = await asyncio.create_subprocess_exec(*world.ssh("-N"))
        await world.agent.until(lambda: bool(world.agent.connections))
        ran = await run(world.ssh("true"))
        assert reason in ran.err
        process.terminate()
        await process.wait()
        await world.agent.until(lambda: not world.gateway.connections)
        assert (await run(world.ssh("true"))).code == 0


async def test_a_removed_key_ends_its_connections_and_no_others(world: World) -> None:
    other = new_key(world.folder / "second")
    fingerprint = asyncssh.read_private_key(str(other)).get_fingerprint()
    world.authorizer.keys[fingerprint] = "alice"
    removed = await asyncio.create_subprocess_exec(
        *world.ssh("-N", key=other), stderr=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    kept = await asyncio.create_subprocess_exec(*world.ssh("-N"))
    await world.agent.until(lambda: len(world.agent.connections) == 2)
    del world.authorizer.keys[fingerprint]
    world.authorizer.change()
    _, said = await asyncio.wait_for(removed.communicate(), PATIENCE)
    assert b"your access to this session ended" in said
    assert kept.returncode is None
    kept.terminate()
    await kept.wait()


async def test_who_lost_access_is_out_without_a_word_of_the_agent(world: World) -> None:
    ssh = await asyncio.create_subprocess_exec(*world.ssh("-N"), stderr=asyncio.subprocess.PIPE)
    await world.agent.until(lambda: len(world.agent.connections) == 1)
    world.authorizer.keys.clear()
    world.tunnels.access_changed("alice")
    assert b"your access to this session ended" in (await asyncio.wait_for(ssh.communicate(), PATIENCE))[1]


async def test_stop_waits_and_then_ends_with_a_reason(world: World) -> None:
    short = await asyncio.create_subprocess_exec(*world.ssh("read line; exit 5"), stdin=asyncio.subprocess.PIPE)
    long = await asyncio.create_subprocess_exec(*world.ssh("sleep 60"), stderr=asyncio.subprocess.PIPE)
    await world.agent.until(lambda: len(world.agent.connections) == 2)
    port = world.gateway.port
    async with asyncio.TaskGroup() as group:
        group.create_task(world.gateway.stop(4))
        await short.communicate(b"go\n")
    assert short.returncode == 5
    _, said = await asyncio.wait_for(long.communicate(), PATIENCE)
    assert b"the gateway is restarting" in said
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_taken_port_is_named(world: World) -> None:
    with pytest.raises(ConfigError, match=f"127.0.0.1:{world.gateway.port}: address in use"):
        listen_at("127.0.0.1", world.gateway.port)


def test_on_uvloop_as_the_programs_run(sshd: Sshd, tmp_path: Path) -> None:
    data = os.urandom(20 * MIB)

    async def up_and_down() -> Ran:
        async with a_world(sshd, tmp_path, rekey_bytes=4 * MIB) as world:
            return await run(world.ssh("cat; exit 3"), data)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        ran = runner.run(up_and_down())
    assert (ran.code, digest(ran.out)) == (3, digest(data))
