"""Snapshots and sessions travel between three machines, with everything in them, whatever dies on the way."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from netvps.domain.session.session import SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.snapshot.snapshot import Snapshot, SnapshotChange, SnapshotDraft
from netvps.errors import NetvpsError
from netvps.faults import HIT
from netvps.programs.wiring.identity import FOLDER
from netvps.rpc.client.client import Client
from tests.e2e.overlay.overlay_lab import API, IMAGE, WAIT, Host, Lab, wait
from tests.e2e.overlay.test_gateway import add_key, ssh

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.e2e]
NAME = "traveller"
MANY = 100_000 if os.environ.get("NETVPS_FULL") else 1000
RECEIVER_POINTS = ("receive.written", "receive.placed", "receive.held")
SERVER_POINTS = tuple(
    f"{transaction}.{when}_commit" for transaction in ("moves.advance", "runner.copy") for when in ("before", "after")
)
WRITE = """
mkdir -p /root/data/sub; cd /root/data
echo one > file; ln file sub/link; chmod 4751 file; chown 1000:1001 sub
dd if=/dev/zero of=holes bs=1 count=1 seek=67108864 2>/dev/null
dd if=/dev/urandom of=data bs=64k count=64 2>/dev/null
touch -d '2020-01-02 03:04:05' data
"""
LOOK = "cd /root/data; find . | sort | xargs stat -c '%n %a %u %g %h %s %b %y'; md5sum data file sub/link"


@pytest.fixture(scope="module")
def lab(three: Lab) -> Iterator[Lab]:
    yield three
    with three.client() as client:
        for session in client.list_sessions("-"):
            client.delete_session(str(session.full_name))
        wait(lambda: not list(client.list_sessions("-")), "no session is left")
    wait(lambda: not any(host.docker("ps", "-aq") for host in three.hosts), "no container is left")
    wait(lambda: not any(snapshot_files(host) for host in three.hosts), "no copy is left")


@pytest.fixture(scope="module")
def client(lab: Lab) -> Iterator[Client]:
    with lab.client() as made:
        yield made


def copies_folder(host: Host) -> Path:
    return host.folder / "s" / FOLDER / "copies"


def snapshot_files(host: Host) -> list[Path]:
    return [*copies_folder(host).glob("snapshots/*"), *copies_folder(host).glob("*.tar")]


def host_of(lab: Lab, client: Client) -> Host:
    name = client.get_session(NAME).runner_name
    return next(host for host in lab.hosts if name == f"box{host.number}")


def container(client: Client) -> str:
    return f"netvps-vps-{client.get_session(NAME).uid}"


def run(lab: Lab, client: Client, script: str) -> str:
    return host_of(lab, client).docker("exec", container(client), "/bin/busybox", "sh", "-c", script)


def run_here(*command: str) -> str:
    folder = Path(command[-1]).parent
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True, timeout=60).stdout


def pour_files(host: Host, name: str, count: int, size: int) -> None:
    """Writes files of random bytes below /root/many of a container."""
    host.docker("exec", name, "/bin/busybox", "mkdir", "/root/many")
    command = [
        "docker",
        "-H",
        host.docker_host,
        "exec",
        "-i",
        name,
        "/bin/busybox",
        "tar",
        "-xC",
        "/root/many",
        "-f",
        "-",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin
        with tarfile.open(fileobj=process.stdin, mode="w|") as archive:
            for number in range(count):
                entry = tarfile.TarInfo(f"{number // 1000}/{number}")
                entry.size = size
                archive.addfile(entry, io.BytesIO(os.urandom(size)))
    assert process.returncode == 0


def runs(client: Client) -> bool:
    return client.get_session(NAME).state is SessionState.RUNNING


def containers(lab: Lab, client: Client, status: str = "running") -> list[int]:
    """The hosts with the session's container in this state."""
    query = ("ps", "-aq", "--filter", f"name={container(client)}", "--filter", f"status={status}")
    return [host.number for host in lab.hosts if host.docker(*query)]


def snapshot(client: Client, snapshot_id: str) -> Snapshot:
    return client.get_snapshot(NAME, snapshot_id)


def damaged(client: Client, snapshot_id: str) -> bool:
    return any(holder.damaged for holder in snapshot(client, snapshot_id).holders)


def copied(client: Client, snapshot_id: str, copies: int) -> Snapshot:
    client.update_snapshot(NAME, snapshot_id, SnapshotChange(copies=copies))
    wait(lambda: len(snapshot(client, snapshot_id).usable) >= copies, f"{copies} copies of {snapshot_id}")
    return snapshot(client, snapshot_id)


@contextmanager
def dying(host: Host, tmp_path: Path, point: str) -> Iterator[Path]:
    """Its runner dies at a point, once."""
    faults = tmp_path / "faults"
    faults.mkdir(exist_ok=True)
    (faults / point).write_text("kill")
    host.stop_runner()
    host.environment |= {"NETVPS_ENV": "test", "NETVPS_FAULTS": str(faults)}
    host.start_process()
    try:
        yield faults / f"{point}{HIT}"
    finally:
        host.environment.clear()


def test_a_stop_answers_when_two_runners_hold_it(lab: Lab, client: Client) -> None:
    client.create_session(NAME, SessionSpec(image=IMAGE))
    wait(lambda: runs(client), "it runs")
    run(lab, client, WRITE)
    lab.netvps("stop", NAME, "--copies", "2")
    assert "2/2" in lab.netvps("snapshot", "ls", NAME, "-o", "wide")
    client.start_session(NAME)
    wait(lambda: runs(client), "it runs again")


@pytest.mark.parametrize("point", RECEIVER_POINTS)
def test_a_receiver_that_dies_ends_with_a_whole_copy(lab: Lab, client: Client, tmp_path: Path, point: str) -> None:
    name = point.replace(".", "-")
    client.create_snapshot(NAME, SnapshotDraft(name))
    wait(lambda: snapshot(client, name).state == "READY", "it is ready")
    target = next(host for host in lab.hosts if host is not host_of(lab, client))
    others = [host for host in lab.hosts if host is not target and host is not host_of(lab, client)]
    with dying(target, tmp_path, point) as hit, others[0].paused():
        client.update_snapshot(NAME, name, SnapshotChange(copies=3))
        wait(hit.exists, f"it died: {target.log[-2000:]}")
        assert target.runner
        assert target.runner.wait(20) == -signal.SIGKILL
        assert len(snapshot(client, name).usable) == 1
    target.start_process()
    held = copied(client, name, 3)
    uid = client.get_session(NAME).uid
    files = {host.number: copies_folder(host) / f"snapshots/{uid}-{held.uid}.tar" for host in lab.hosts}
    assert len({path.read_bytes() for path in files.values()}) == 1
    client.delete_snapshot(NAME, name)
    wait(lambda: not any(path.exists() for path in files.values()), "it is gone everywhere")


def test_a_full_disk_of_a_receiver_is_said_and_waited_for(lab: Lab, client: Client) -> None:
    client.create_snapshot(NAME, SnapshotDraft("full"))
    wait(lambda: snapshot(client, "full").state == "READY", "it is ready")
    target = next(host for host in lab.hosts if host is not host_of(lab, client))
    folder = copies_folder(target)
    run_here("mount", "-t", "tmpfs", "-o", "size=65m", "netvps", str(folder))
    try:
        client.update_snapshot(NAME, "full", SnapshotChange(copies=3))
        words = f"copying to box{target.number}: the copy of the session's files needs "
        wait(lambda: words in snapshot(client, "full").message, "it says what is needed")
        assert "MiB are free" in snapshot(client, "full").message
    finally:
        run_here("umount", str(folder))
    wait(lambda: not snapshot(client, "full").lacks, "it goes on")
    client.delete_snapshot(NAME, "full")


def test_a_flipped_bit_is_found_and_another_copy_used(lab: Lab, client: Client) -> None:
    origin = host_of(lab, client)
    client.create_snapshot(NAME, SnapshotDraft("bits"))
    wait(lambda: snapshot(client, "bits").state == "READY", "it is ready")
    held = copied(client, "bits", 2)
    uid = client.get_session(NAME).uid
    archive = copies_folder(origin) / f"snapshots/{uid}-{held.uid}.tar"
    with archive.open("r+b") as content:
        content.seek(archive.stat().st_size // 2)
        byte = content.read(1)
        content.seek(-1, os.SEEK_CUR)
        content.write(bytes((byte[0] ^ 1,)))
    client.update_snapshot(NAME, "bits", SnapshotChange(copies=3))
    wait(lambda: not snapshot(client, "bits").lacks or damaged(client, "bits"), "all hold it, or the damage is found")
    whole = {one.name for one in snapshot(client, "bits").usable} - {f"box{origin.number}"}
    assert whole
    for host in lab.hosts:
        if f"box{host.number}" in whole:
            assert (copies_folder(host) / f"snapshots/{uid}-{held.uid}.tar").read_bytes() != archive.read_bytes()
    wait(lambda: len(snapshot(client, "bits").usable) >= 2, "the third gets it from the other one")
    client.delete_snapshot(NAME, "bits")


def test_a_session_moves_with_everything(lab: Lab, client: Client) -> None:
    before, origin = run(lab, client, LOOK), host_of(lab, client)
    client.create_snapshot(NAME, SnapshotDraft("kept"))
    wait(lambda: snapshot(client, "kept").state == "READY", "it is ready, and the session is not paused any more")
    target = next(host for host in lab.hosts if host is not origin)
    key = run(lab, client, "cat /etc/ssh/*.pub /.netvps/*.pub 2>/dev/null; hostname")
    address = client.get_session(NAME).address
    lab.netvps("move", NAME, "--to", f"box{target.number}")
    assert host_of(lab, client) is target
    assert run(lab, client, LOOK) == before
    assert run(lab, client, "cat /etc/ssh/*.pub /.netvps/*.pub 2>/dev/null; hostname") == key
    assert client.get_session(NAME).address == address
    moved_to = [f"box{target.number}"]
    wait(lambda: [one.name for one in snapshot(client, "kept").usable] == moved_to, "the old holder is dropped")
    wait(lambda: not origin.docker("ps", "-aq") and not snapshot_files(origin), "nothing is left behind")
    assert containers(lab, client) == [target.number]
    client.restore_snapshot(NAME, "kept")
    wait(lambda: client.get_session(NAME).pending_restore is None and runs(client), "the snapshot is restored there")
    assert run(lab, client, LOOK) == before


def test_a_directory_without_sessions_holds_copies_and_gives_them_back(lab: Lab, client: Client) -> None:
    """On a machine that needs no Docker: the copy there is what another runner gets once its own is damaged."""
    nas = lab.folder / "nas"
    (nas / "mounted").mkdir(parents=True)
    token = nas / "token"
    token.write_text(lab.netvps("runner", "join-token"))
    joining = ("--server", API, "--name", "nas", "--join-token-file", str(token))
    holds = ("--no-sessions", "--overlay", "false", "--snapshot-dir", str(nas / "mounted"))
    process = lab.spawn(lab.hosts[0], nas, "runner", *joining, *holds)
    try:
        wait(lambda: lab.online() == lab.count + 1, "it is online")
        client.create_snapshot(NAME, SnapshotDraft("stored"))
        wait(lambda: snapshot(client, "stored").state == "READY", "it is ready")
        held = copied(client, "stored", lab.count + 1)
        assert "nas" in {one.name for one in held.usable}
        (tarball,) = (nas / "mounted/snapshots").glob(f"vps-*-{held.uid}-*.tar")
        assert "OK" in run_here("sha256sum", "-c", f"{tarball}.sha256")
        (nas / "mounted").rename(nas / "away")
        client.create_snapshot(NAME, SnapshotDraft("later"))
        wait(lambda: snapshot(client, "later").state == "READY", "it is ready")
        client.update_snapshot(NAME, "later", SnapshotChange(copies=lab.count + 1))
        wait(lambda: "is not mounted" in snapshot(client, "later").message, "it says what it waits for")
        (nas / "away").rename(nas / "mounted")
        wait(lambda: not snapshot(client, "later").lacks, "it goes on", 3 * WAIT)
        for name in ("stored", "later"):
            client.delete_snapshot(NAME, name)
        wait(lambda: not list((nas / "mounted/snapshots").iterdir()), "nothing is left there")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        client.delete_runner("nas")


def test_a_session_of_a_lost_machine_goes_on_elsewhere_and_never_twice(lab: Lab, client: Client) -> None:
    add_key(lab)
    lost, address = host_of(lab, client), client.get_session(NAME).address
    copied(client, "kept", 2)
    run(lab, client, "echo newer > /root/data/newer")
    lost.stop_runner(signal.SIGKILL)
    wait(lambda: client.get_session(NAME).state is SessionState.UNREACHABLE, "its runner is missed")
    lab.netvps("move", NAME, "--from-copy")
    wait(lambda: runs(client), "it runs elsewhere")
    assert host_of(lab, client) is not lost
    assert "newer" not in run(lab, client, "ls /root/data")
    assert containers(lab, client) == sorted([lost.number, host_of(lab, client).number])
    login = ssh(lab, NAME, "/bin/busybox ls /root/data")
    assert "newer" not in subprocess.run(login, check=True, capture_output=True, text=True, timeout=60).stdout
    epoch = client.get_session(NAME).epoch
    lost.start_process()  # its container ran on, unseen
    wait(lambda: containers(lab, client) == [host_of(lab, client).number], "the old one is stopped")
    lost.stop_runner(signal.SIGKILL)
    with server_away(lab):
        lost.start_process()
        wait(lambda: "no connection to the control plane" in lost.log, "the runner is by itself")
        assert lost.docker("ps", "-q") == ""
    wait(lambda: lab.online() == lab.count, "all are back")
    assert containers(lab, client) == [host_of(lab, client).number]
    assert (client.get_session(NAME).epoch, client.get_session(NAME).address) == (epoch, address)
    assert lost.docker("ps", "-aq"), "its files are kept"


def test_many_files_travel_and_are_equal(lab: Lab, client: Client) -> None:
    """With NETVPS_FULL, a gigabyte in 100,000 files, which takes minutes."""
    pour_files(host_of(lab, client), container(client), MANY, 10_240)
    look = "cd /root/many && find . -type f | sort | xargs md5sum | md5sum; find . -type f | wc -l"
    before, origin = run(lab, client, look), host_of(lab, client)
    assert before.split()[2] == str(MANY)
    client.move_session(NAME)
    wait(lambda: client.list_moves(NAME)[0].stage == "DONE" and runs(client), "it moved", 30 * WAIT)
    assert host_of(lab, client) is not origin
    assert run(lab, client, look) == before
    run(lab, client, "rm -r /root/many")


def test_a_server_that_dies_at_every_step_moves_it_once(lab: Lab, client: Client, tmp_path: Path) -> None:
    """One move, in which the server dies at each of these points, one after the other."""
    before, origin, epoch = run(lab, client, LOOK), host_of(lab, client), client.get_session(NAME).epoch
    for point in SERVER_POINTS:
        (tmp_path / point).write_text("kill")
    lab.stop_server()
    lab.hosts[0].environment |= {"NETVPS_ENV": "test", "NETVPS_FAULTS": str(tmp_path)}
    try:

        def is_done() -> bool:
            if lab.server is None or lab.server.poll() is not None:
                lab.stop_server(signal.SIGKILL)
                with suppress(AssertionError):  # it died before it was ready
                    lab.start_server()
            with suppress(NetvpsError):
                client.move_session(NAME, request_id="once")
                return client.list_moves(NAME)[0].stage == "DONE" and origin.docker("ps", "-aq") == ""
            return False

        wait(is_done, f"it moved: {(lab.folder / 'server/log').read_text()[-2000:]}", 3 * WAIT)
        assert {path.name for path in tmp_path.iterdir()} == {f"{point}{HIT}" for point in SERVER_POINTS}
    finally:
        lab.hosts[0].environment.clear()
        lab.stop_server()
        lab.start_server()
    wait(lambda: runs(client), "it runs")
    assert client.get_session(NAME).epoch == epoch + 1
    assert run(lab, client, LOOK) == before


@contextmanager
def server_away(lab: Lab) -> Iterator[None]:
    lab.stop_server()
    try:
        yield
    finally:
        lab.start_server()


def test_a_drain_empties_a_machine_though_its_runner_dies_meanwhile(lab: Lab, client: Client) -> None:
    origin = host_of(lab, client)
    before = run(lab, client, LOOK)
    draining = lab.spawn(lab.hosts[0], lab.folder / "server", "runner", "drain", f"box{origin.number}")
    try:
        wait(lambda: client.list_moves(NAME)[0].stage in {"STOPPING", "COPYING"}, "it began")
        origin.stop_runner(signal.SIGKILL)
        origin.start_process()
        assert draining.wait(2 * WAIT) == 0, client.list_moves(NAME)
        assert host_of(lab, client) is not origin
        wait(lambda: runs(client), "it runs")
        assert run(lab, client, LOOK) == before
    finally:
        lab.netvps("runner", "uncordon", f"box{origin.number}")
