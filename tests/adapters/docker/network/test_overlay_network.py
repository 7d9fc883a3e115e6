"""The network on the overlay's bridge, on a real engine; bridge and network have names of the test's own."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.errors import DockerError, NetworkUnavailable
from netvps.adapters.docker.network.overlay_network import OverlayNetwork, outer_link
from netvps.domain.overlay.kernel.links import Bridge, ObjectNames
from tests.support.images import busybox_archive, import_image

pytestmark = [pytest.mark.docker, pytest.mark.netns]
UID = "0123456789abc"
SUBNET, OTHER = "10.255.240.0/22", "10.255.244.0/22"


def run(*command: str, check: bool = True) -> str:
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert answer.returncode == 0 or not check, answer.stderr
    return answer.stdout


@pytest.fixture
def names() -> Iterator[ObjectNames]:
    mark = f"nvt{secrets.token_hex(3)}"
    names = ObjectNames(bridge=f"{mark}br", network=f"{mark}-overlay")
    run("ip", "link", "add", names.bridge, "address", "02:42:0a:ff:f0:01", "type", "bridge")
    try:
        run("ip", "address", "add", "10.255.240.1/22", "dev", names.bridge)
        run("ip", "link", "set", names.bridge, "up")
        yield names
    finally:
        run("docker", "network", "rm", names.network, check=False)
        run("ip", "link", "delete", names.bridge)


@pytest.fixture
async def network(names: ObjectNames) -> AsyncIterator[OverlayNetwork]:
    docker = await Docker.open()
    yield OverlayNetwork(docker, names)
    docker.close()


@pytest.fixture
def image() -> Iterator[str]:
    name = f"nvt-{secrets.token_hex(3)}:latest"
    import_image(busybox_archive(), name)
    yield name
    run("docker", "rmi", "-f", name)


def bridge(mtu: int = 1450) -> Bridge:
    return Bridge("02:42:0a:ff:f0:01", mtu, 365)


async def test_it_is_made_once_and_leaves_the_bridge_unchanged(network: OverlayNetwork, names: ObjectNames) -> None:
    before = run("ip", "-br", "link", "show", names.bridge)
    await network.ensure(SUBNET, bridge())
    made = run("docker", "network", "inspect", "-f", "{{.Id}}", names.network)
    await network.ensure(SUBNET, bridge())
    assert run("docker", "network", "inspect", "-f", "{{.Id}}", names.network) == made
    assert run("ip", "-br", "link", "show", names.bridge) == before
    assert await network.ports() == {}
    await network.remove()
    await network.remove()
    assert run("ip", "-br", "link", "show", names.bridge) == before


async def test_containers_have_our_addresses_and_their_links_are_known(
    network: OverlayNetwork, names: ObjectNames, image: str
) -> None:
    await network.ensure(SUBNET, bridge())
    container = run(
        *("docker", "run", "-d", "--network", names.network, "--ip", "10.255.240.9", image, "sleep", "600"),
    ).strip()
    try:
        ports = await network.ports()
        (address,) = ports
        assert address == "10.255.240.9"
        assert f"master {names.bridge}" in run("ip", "link", "show", ports[address])
        assert "mtu 1450" in run("docker", "exec", container, "ip", "link", "show", "eth0")
        # Another subnet has to wait for it; another MTU is not worth its end.
        with pytest.raises(NetworkUnavailable, match=f"has the subnet {SUBNET} instead of {OTHER}"):
            await network.ensure(OTHER, bridge())
        await network.ensure(SUBNET, bridge(1400))
        assert await network.ports() == ports
    finally:
        run("docker", "rm", "-f", container)
    await network.ensure(SUBNET, bridge(1400))
    assert '"com.docker.network.driver.mtu": "1400"' in run("docker", "network", "inspect", names.network)
    assert await network.ports() == {}


async def test_docker_s_resolver_goes_from_those_that_ask_the_runner_and_from_no_others(
    network: OverlayNetwork, names: ObjectNames, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rules(container: str) -> str:
        pid = run("docker", "inspect", "-f", "{{.State.Pid}}", container).strip()
        return run("nsenter", "-t", pid, "-n", "nft", "list", "ruleset")

    await network.ensure(SUBNET, bridge())
    (tmp_path / "resolv.conf").write_text("nameserver 10.255.240.1\n")
    command = ("docker", "run", "-d", "--network", names.network)
    file = ("-v", f"{tmp_path}/resolv.conf:/etc/resolv.conf")
    session = ("--name", f"netvps-vps-{UID}", "--label", f"netvps.session_id={UID}")
    ours = run(*command, *file, *session, image, "sleep", "600").strip()
    other = run(*command, *session[2:], *file, image, "sleep", "600").strip()
    try:
        assert "127.0.0.11" in rules(ours)
        assert len(await network.ports()) == 2
        assert rules(ours) == ""
        assert "127.0.0.11" in rules(other)
        run("docker", "restart", "-t", "0", ours)
        assert "127.0.0.11" in rules(ours)
        await network.ports()
        assert rules(ours) == ""
        # An engine that comes back has put it into running ones, too.
        pid = run("docker", "inspect", "-f", "{{.State.Pid}}", ours).strip()
        run("nsenter", "-t", pid, "-n", "nft", "add", "table", "ip", "nat")
        with monkeypatch.context() as away:
            away.setattr(network, "_docker", Docker("unix:///nowhere"))
            with pytest.raises(DockerError):
                await network.ports()
        await network.ports()
        assert rules(ours) == ""
    finally:
        run("docker", "rm", "-f", ours, other)


async def test_a_session_that_moved_here_has_its_address_and_its_link_is_known_by_that(
    network: OverlayNetwork, names: ObjectNames, image: str
) -> None:
    await network.ensure(SUBNET, bridge())
    moved, local = "10.255.244.9", "10.255.240.9"
    connection = f"name={names.network},ip={local},driver-opt=netvps.address={moved}"
    session = ("--name", f"netvps-vps-{UID}", "--label", f"netvps.session_id={UID}")
    container = run("docker", "run", "-d", "--network", connection, *session, image, "sleep", "600").strip()

    def addresses() -> list[str]:
        pid = run("docker", "inspect", "-f", "{{.State.Pid}}", container).strip()
        shown = run("nsenter", "-t", pid, "-n", "ip", "-o", "-4", "address", "show", "dev", "eth0")
        return [line.split()[3] for line in shown.splitlines()]

    try:
        assert addresses() == [f"{local}/22"]
        ports = await network.ports()
        assert (list(ports), addresses()) == ([moved], [f"{moved}/32"])
        assert await network.ports() == ports
        assert await OverlayNetwork(network._docker, names).ports() == ports  # a runner that starts again
        run("docker", "restart", "-t", "0", container)
        assert addresses() == [f"{local}/22"]
        assert list(await network.ports()) == [moved]
        assert addresses() == [f"{moved}/32"]
    finally:
        run("docker", "rm", "-f", container)


async def test_a_foreign_one_is_left_alone(network: OverlayNetwork, names: ObjectNames) -> None:
    run("docker", "network", "create", "--subnet", OTHER, names.network)
    with pytest.raises(NetworkUnavailable, match="exists and is not managed by netvps: remove it"):
        await network.ensure(SUBNET, bridge())
    await network.remove()
    assert run("docker", "network", "ls", "-q", "--filter", f"name={names.network}")


def test_a_process_that_ended_has_no_links(tmp_path: Path) -> None:
    assert outer_link(7, "02:42:0a:ff:f0:09", tmp_path) == ""
