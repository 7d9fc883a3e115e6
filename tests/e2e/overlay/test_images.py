"""Images get from one machine to another, without a registry."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from netvps.domain.session.session import SessionState
from netvps.domain.session.spec import SessionSpec
from tests.e2e.overlay.overlay_lab import IMAGE, Host, Lab, wait

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
