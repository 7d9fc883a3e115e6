"""Stock clients at a session, by both ways: through the gateway's login, and led by it to the session's own server."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import paramiko
import pytest

from netvps.domain.runner.docker_names import container_name
from netvps.process.account import user_name
from tests.e2e.documents.printed import plain_ssh
from tests.e2e.system import NETVPS, Answer, System, docker, free_ports
from tests.gateway.tui.viewer import Viewer
from tests.support.patience import PATIENCE

pytestmark = [pytest.mark.e2e, pytest.mark.docker]

BOTH = pytest.mark.parametrize("host", ["dev1.netvps", f"dev1.{user_name()}.nv.internal"])
PAGE = "a page of the session\n"


@pytest.fixture(scope="module")
def system(ui_system: System) -> System:
    """Its session dev1 serves a page on its loopback, port 8000."""
    ui_system.netvps("config-ssh")
    serve = f"mkdir -p /www && printf '{PAGE}' >/www/page && httpd -p 127.0.0.1:8000 -h /www"
    assert _ssh(ui_system, "dev1.netvps", serve).returncode == 0
    return ui_system


def _argv(system: System, program: str, *words: str | Path) -> list[str]:
    return [program, *plain_ssh(system), *map(str, words)]


def _ssh(system: System, *words: str | Path, check: bool = True, **options: object) -> Answer:
    given = {"stdin": subprocess.DEVNULL} if "input" not in options else {}
    return system.run(*_argv(system, "ssh", *words), check=check, **given, **options)  # type: ignore[arg-type]


@contextmanager
def _running(system: System, *words: str | Path) -> Iterator[subprocess.Popen[bytes]]:
    """An ssh that lasts while the block does."""
    argv = _argv(system, "ssh", *words)
    with subprocess.Popen(argv, env=system.full_environment(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as ssh:
        try:
            yield ssh
        finally:
            ssh.terminate()


def _fetch(system: System, *options: str) -> bytes:
    """The page, by curl, once what leads to it listens."""
    argv = ("curl", "-sf", "--retry", "40", "--retry-delay", "0", "--retry-all-errors", "--retry-max-time", "30")
    return system.run(*argv, *options).stdout


@BOTH
def test_exit_codes_and_death_by_signal(system: System, host: str) -> None:
    assert [_ssh(system, host, f"exit {code}", check=False).returncode for code in (0, 1, 254)] == [0, 1, 254]
    killed = _ssh(system, "-v", host, "kill -KILL $$", check=False)
    assert (killed.returncode, b"rtype exit-signal" in killed.stderr) == (255, True)


@BOTH
async def test_a_terminal_follows_its_window(system: System, host: str) -> None:
    async with Viewer(_argv(system, "ssh", "-tt", host)) as person:
        await person.until(b"# ")
        person.press(b"stty size\r")
        await person.until(b"30 100")
        person.resize(120, 40)
        await person.press_until(b"stty size\r", b"40 120")
        person.press(b"exit 9\r")
        assert await person.end() == 9


@BOTH
def test_an_agent_is_forwarded(system: System, host: str) -> None:
    path = system.home / "agent.sock"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.PIPE) as agent:
        try:
            assert agent.stdout is not None
            agent.stdout.readline()
            system.environment["SSH_AUTH_SOCK"] = str(path)
            answer = _ssh(system, "-A", host, 'test -S "$SSH_AUTH_SOCK" && echo forwarded')
        finally:
            del system.environment["SSH_AUTH_SOCK"]
            agent.terminate()
    assert answer.stdout == b"forwarded\n"


@BOTH
def test_ports_and_sockets_of_the_session(system: System, host: str) -> None:
    """-L to a port, -D, and -L from a Unix socket at once; then -W."""
    tcp, socks = str(free_ports()["http"]), str(free_ports()["http"])
    path = system.home / "page.sock"
    path.unlink(missing_ok=True)
    forwards = ("-L", f"{tcp}:localhost:8000", "-D", socks, "-L", f"{path}:127.0.0.1:8000")
    with _running(system, "-N", "-o", "ExitOnForwardFailure=yes", *forwards, host):
        found = [
            _fetch(system, f"http://127.0.0.1:{tcp}/page"),
            _fetch(system, "--socks5-hostname", f"127.0.0.1:{socks}", "http://localhost:8000/page"),
            _fetch(system, "--unix-socket", str(path), "http://localhost/page"),
        ]
    answer = _ssh(system, "-W", "127.0.0.1:8000", host, input=b"GET /page HTTP/1.0\r\n\r\n")
    assert found == [PAGE.encode()] * 3
    assert answer.stdout.endswith(PAGE.encode())


@BOTH
def test_a_port_here_that_the_session_chooses(system: System, host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as here:
        here.settimeout(30)
        with _running(system, "-N", "-R", f"0:127.0.0.1:{here.getsockname()[1]}", host) as ssh:
            assert ssh.stderr is not None
            found = re.search(rb"Allocated port (\d+) for remote forward", ssh.stderr.readline())
            assert found
            with ThreadPoolExecutor(1) as pool:
                asking = pool.submit(_ssh, system, host, f"echo question | nc 127.0.0.1 {int(found[1])}")
                connection, _ = here.accept()
                with connection, connection.makefile("rb") as reader:
                    assert reader.readline() == b"question\n"
                    connection.sendall(b"answer\n")
                assert asking.result(30).stdout == b"answer\n"


@BOTH
def test_fifty_sessions_of_one_connection(system: System, host: str) -> None:
    control = ("-o", f"ControlPath={system.home}/mux-%C")
    master = subprocess.Popen(_argv(system, "ssh", "-MN", *control, host), env=system.full_environment())
    try:
        until = time.monotonic() + 30
        while _ssh(system, "-O", "check", *control, host, check=False).returncode:
            assert time.monotonic() < until, master.poll()
        with ThreadPoolExecutor(50) as pool:
            codes = list(
                pool.map(lambda n: _ssh(system, *control, host, f"exit {n}", check=False).returncode, range(50))
            )
        assert codes == list(range(50))
    finally:
        master.terminate()
        master.wait(20)


@BOTH
def test_keys_are_renewed_while_bytes_flow(system: System, host: str) -> None:
    sent = os.urandom(16 << 20)
    answer = _ssh(system, "-v", "-o", "RekeyLimit=1M", host, "cat", input=sent)
    assert hashlib.sha256(answer.stdout).digest() == hashlib.sha256(sent).digest()
    assert answer.stderr.count(b"SSH2_MSG_NEWKEYS received") > 15


@BOTH
def test_sftp_with_what_people_do(system: System, host: str, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(os.urandom(3 << 20))
    (tmp_path / "part").write_bytes((tmp_path / "sent").read_bytes()[: 1 << 20])
    (tmp_path / "tree/deep").mkdir(parents=True)
    for number in range(20):
        (tmp_path / "tree/deep" / str(number)).write_text(str(number))
    batch = f"""put {tmp_path}/part part
reput {tmp_path}/sent part
rename part whole
chmod 640 whole
ln -s whole link
put -R {tmp_path}/tree .
get -R tree {tmp_path}/back
get link {tmp_path}/whole
ls -l
rm link
rm whole
"""
    listed = system.run(*_argv(system, "sftp", "-b", "-", host), input=batch.encode()).stdout
    assert b"-rw-r-----" in listed
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "sent").read_bytes()
    assert sorted(file.name for file in (tmp_path / "back/deep").iterdir()) == sorted(map(str, range(20)))
    _ssh(system, host, "rm -r tree")


@BOTH
def test_the_steps_of_an_editor_that_works_there(system: System, host: str) -> None:
    """A script on stdin starts a server on loopback; forwards lead to it; it is still there after a lost connection."""
    bootstrap = b"""echo begin
httpd -f -p 127.0.0.1:8123 -h /www >/dev/null 2>&1 &
echo $! >/tmp/editor.pid
echo end
"""
    said = _ssh(system, "-T", host, "sh -s", input=bootstrap).stdout
    assert said == b"begin\nend\n"
    try:
        for window in range(2):
            socks = str(free_ports()["http"])
            with _running(system, "-T", "-D", socks, host, "sleep 60") as ssh:
                found = _fetch(system, "--socks5-hostname", f"127.0.0.1:{socks}", "http://127.0.0.1:8123/page")
                assert found == PAGE.encode(), window
                ssh.send_signal(signal.SIGKILL)  # the link is lost
    finally:
        _ssh(system, host, "kill $(cat /tmp/editor.pid)")


async def test_three_hundred_commands_of_one_connection(system: System) -> None:
    connecting = asyncssh.connect(
        "127.0.0.1", system.ports["ssh"], username="dev1", client_keys=[str(system.home / "ui-key")],
        known_hosts=None, config=None,
    )  # fmt: skip
    async with connecting as client, asyncio.timeout(PATIENCE):
        gate = asyncio.Semaphore(100)

        async def one(number: int) -> int | None:
            async with gate:
                return (await client.run(f"exit {number % 200}")).exit_status

        assert await asyncio.gather(*(one(number) for number in range(300))) == [number % 200 for number in range(300)]


async def test_asyncssh_copies_files(system: System, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(os.urandom(1 << 20))
    connecting = asyncssh.connect(
        "127.0.0.1", system.ports["ssh"], username="dev1", client_keys=[str(system.home / "ui-key")],
        known_hosts=None, config=None,
    )  # fmt: skip
    async with connecting as client, client.start_sftp_client() as sftp:
        await sftp.put(str(tmp_path / "sent"), "/root/asyncssh")
        await sftp.get("/root/asyncssh", str(tmp_path / "back"))
        await sftp.remove("/root/asyncssh")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "sent").read_bytes()


def test_putty_runs_commands_and_copies_files(system: System, tmp_path: Path) -> None:
    key = tmp_path / "key.ppk"
    system.run("puttygen", system.home / "ui-key", "-o", key, "-O", "private")
    host_key = (system.home / ".ssh/netvps/known_hosts").read_text().splitlines()[0].split()[1:]
    fingerprint = asyncssh.import_public_key(" ".join(host_key)).get_fingerprint()
    options = ("-batch", "-hostkey", fingerprint, "-i", key, "-P", str(system.ports["ssh"]))
    assert system.run("plink", "-ssh", *options, "dev1@127.0.0.1", "exit 4", check=False).returncode == 4
    (tmp_path / "sent").write_bytes(os.urandom(1 << 20))
    system.run("pscp", "-q", *options, tmp_path / "sent", "dev1@127.0.0.1:putty")
    (tmp_path / "batch").write_text(f"get putty {tmp_path}/back\nrm putty\n")
    system.run("psftp", *options, "-b", tmp_path / "batch", "dev1@127.0.0.1")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "sent").read_bytes()


ECHO = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
    sock.bind(("127.0.0.1", 9053))
    while True:
        data, peer = sock.recvfrom(65536)
        sock.sendto(b"answer " + data, peer)
"""


def test_forward_takes_several_ports_datagrams_and_sockets(system: System) -> None:
    uid = json.loads(system.netvps("show", "dev1", "-o", "json").stdout)["uid"]
    pid = docker("inspect", "-f", "{{.State.Pid}}", container_name(uid)).strip()
    tcp, udp = free_ports()["http"], free_ports()["http"]
    path = system.home / "forward.sock"
    words = (f"{tcp}:8000", f"{udp}:9053/udp", f"{path}:8000")
    argv = [*NETVPS, "forward", "dev1", *words]
    echo = subprocess.Popen(["nsenter", "-t", pid, "-n", sys.executable, "-c", ECHO])
    forwarding = subprocess.Popen(argv, env=system.full_environment(), stderr=subprocess.DEVNULL)
    try:
        assert _fetch(system, f"http://127.0.0.1:{tcp}/page") == PAGE.encode()
        assert _fetch(system, "--unix-socket", str(path), "http://localhost/page") == PAGE.encode()
        with _datagrams() as one, _datagrams() as two:
            for sock, data in ((one, b"1"), (two, b"2" * 20_000), (one, b"3")):
                assert _asked(sock, udp, data) == b"answer " + data
    finally:
        forwarding.terminate()
        forwarding.wait(20)
        echo.kill()
        echo.wait(20)


def _datagrams() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def _asked(sock: socket.socket, port: int, data: bytes) -> bytes:
    """The answer to a datagram, which is sent again where none comes: it may be lost."""
    sock.settimeout(1)
    for _ in range(20):
        sock.sendto(data, ("127.0.0.1", port))
        try:
            return sock.recv(65536)
        except (TimeoutError, ConnectionError):
            continue
    raise AssertionError("no answer")


def test_paramiko_runs_commands_and_copies_files_both_ways(system: System, tmp_path: Path) -> None:
    (tmp_path / "sent").write_bytes(os.urandom(1 << 20))
    key = paramiko.Ed25519Key.from_private_key_file(str(system.home / "ui-key"))
    with _paramiko(system.ports["ssh"], "_netvps", key) as gateway:
        transport = gateway.get_transport()
        assert transport is not None
        led = transport.open_channel("direct-tcpip", ("dev1", 22), ("127.0.0.1", 0))
        with _paramiko(system.ports["ssh"], "dev1", key) as one, _paramiko(22, "root", key, led) as other:
            for number, client in enumerate((one, other)):
                _, out, _ = client.exec_command(f"echo in; exit {number}")
                assert (out.read(), out.channel.recv_exit_status()) == (b"in\n", number)
                with client.open_sftp() as sftp:
                    sftp.put(str(tmp_path / "sent"), "paramiko")
                    sftp.get("paramiko", str(tmp_path / "back"))
                    sftp.remove("paramiko")
                assert (tmp_path / "back").read_bytes() == (tmp_path / "sent").read_bytes()


def _paramiko(port: int, user: str, key: paramiko.PKey, sock: paramiko.Channel | None = None) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    client.connect("127.0.0.1", port, user, pkey=key, sock=sock, allow_agent=False, look_for_keys=False, timeout=20)
    return client


def _own_path(program: str) -> str:
    """As dbclient must be called where it calls itself."""
    path = shutil.which(program)
    assert path
    return path


def test_dropbear_is_led_to_the_session(system: System, tmp_path: Path) -> None:
    system.run("dropbearconvert", "openssh", "dropbear", system.home / "ui-key", tmp_path / "key")
    hops = f"_netvps@127.0.0.1^{system.ports['ssh']},root@dev1"
    answer = system.run(_own_path("dbclient"), "-y", "-y", "-i", tmp_path / "key", hops, "echo in; exit 5", check=False)
    assert (answer.returncode, answer.stdout) == (5, b"in\n"), answer.stderr
