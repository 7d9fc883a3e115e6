"""Images get from one machine to another without a registry, and a registry holds snapshots for all of them."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from netvps.domain.session.session import SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.snapshot.snapshot import SnapshotChange, SnapshotDraft
from tests.e2e.overlay.overlay_lab import API, IMAGE, Host, Lab, wait
from tests.support.registry import PASSWORD, USER, lacks_registry, registry

pytestmark = [pytest.mark.docker, pytest.mark.netns, pytest.mark.e2e]
BUILT, PULLED = "netvps/only-here:latest", "127.0.0.1:9/gone:1"
"""An environment, and an image whose registry does not exist any more."""


@pytest.fixture(scope="module")
def lab(three: Lab) -> Iterator[Lab]:
    """The first host has two images that the others lack, of a layer above one that all have."""
    yield three
    with three.client() as client:
        for session in client.list_sessions("-"):
            client.delete_session(str(session.full_name))
        wait(lambda: not list(client.list_sessions("-")), "no session is left")
    wait(lambda: not any(host.docker("ps", "-aq") for host in three.hosts), "no container is left")
    for host in three.hosts:
        host.docker("rmi", "-f", BUILT, PULLED, check=False)


@pytest.fixture(scope="module")
def origin(lab: Lab) -> Host:
    host = lab.hosts[0]
    made = host.docker("run", "-d", IMAGE, "/bin/busybox", "sh", "-c", "echo made here > /made").strip()
    host.docker("wait", made)
    for reference in (BUILT, PULLED):
        host.docker("commit", made, reference)
    host.docker("rm", made)
    return host


@contextmanager
def only(lab: Lab, host: Host) -> Iterator[None]:
    """Only this host gets sessions."""
    with ExitStack() as stack:
        for other in lab.hosts:
            if other is not host:
                lab.netvps("runner", "drain", f"box{other.number}")
                stack.callback(lab.netvps, "runner", "uncordon", f"box{other.number}")
        yield


@pytest.mark.parametrize("reference", [BUILT, PULLED])
def test_a_session_starts_where_its_image_never_was(lab: Lab, origin: Host, reference: str) -> None:
    target = lab.hosts[1]
    assert target.docker("images", "-q", reference) == ""
    with lab.client() as client:
        with only(lab, target):
            created = client.create_session("copied", SessionSpec(image=reference))
        wait(lambda: client.get_session("copied").state is SessionState.RUNNING, "it runs")
        assert client.get_session("copied").runner_name == f"box{target.number}"
        assert target.docker("exec", f"netvps-vps-{created.uid}", "/bin/busybox", "cat", "/made") == "made here\n"
        client.delete_session("copied")
    inspect = ("image", "inspect", "-f", "{{.Id}} {{.RootFS.Layers}}", reference)
    assert target.docker(*inspect) == origin.docker(*inspect)


def test_a_pull_brings_an_environment_to_all_runners(lab: Lab, origin: Host) -> None:
    said = lab.netvps("env", "pull", BUILT)
    assert said.strip().endswith(BUILT)
    assert all(host.docker("images", "-q", BUILT) == origin.docker("images", "-q", BUILT) for host in lab.hosts)


@contextmanager
def holding(lab: Lab, repository: str) -> Iterator[None]:
    """A runner "reg" beside the first host's, which holds copies in this repository."""
    folder = lab.folder / "reg"
    folder.mkdir()
    token = folder / "token"
    token.write_text(lab.netvps("runner", "join-token"))
    joining = ("--server", API, "--name", "reg", "--join-token-file", str(token))
    process = lab.spawn(
        lab.hosts[0],
        folder,
        "runner",
        *joining,
        "--no-sessions",
        "--overlay",
        "false",
        "--snapshot-registry",
        repository,
    )
    try:
        wait(lambda: lab.online() == lab.count + 1, "it is online")
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        with lab.client() as client:
            client.delete_runner("reg")


@pytest.mark.skipif(bool(lacks_registry()), reason=lacks_registry())
def test_a_registry_holds_a_snapshot_and_gives_it_to_another_machine(lab: Lab) -> None:
    origin = lab.hosts[1]
    inside = ("nsenter", f"--net=/run/netns/{lab.hosts[0].namespace.name}")
    with lab.client() as client, registry(password=True, inside=inside) as host, ExitStack() as stack:
        client.update_registry_login(host, USER, PASSWORD)
        stack.enter_context(holding(lab, f"{host}/netvps/snapshots"))

        def holders(copies: int) -> set[str]:
            client.update_snapshot("stored", "one", SnapshotChange(copies=copies))
            wait(lambda: not client.get_snapshot("stored", "one").lacks, f"{copies} hold it")
            return {one.name for one in client.get_snapshot("stored", "one").usable}

        with only(lab, origin):
            client.create_session("stored", SessionSpec(image=IMAGE))
            wait(lambda: client.get_session("stored").state is SessionState.RUNNING, "it runs")
            client.create_snapshot("stored", SnapshotDraft("one"))
            wait(lambda: client.get_snapshot("stored", "one").state == "READY", "it is ready")
            assert holders(2) == {"box2", "reg"}
        origin.stop_runner()
        try:
            assert holders(3) > {"box2", "reg"}  # another machine has it from the registry
        finally:
            origin.start_process()
        client.delete_session("stored")
        wait(lambda: not list(client.list_sessions("-")), "it is gone")
