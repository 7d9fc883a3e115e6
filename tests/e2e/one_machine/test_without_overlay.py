"""Runners without the overlay: owners are apart, and sessions are kept from their machine where rules can be written.

One runner may not change the network (no CAP_NET_ADMIN): what keeps owners apart there is Docker alone.
"""

from __future__ import annotations

import json
import shutil
import socket
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from netvps.domain.runner.docker_names import SHARED_NETWORK, container_name, isolated_network
from tests.e2e.kills.faulty import until
from tests.e2e.system import NETVPS, System, docker, new_system, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
_SERVE = "while :; do echo theirs | nc -l -p 8000; done"
_WITHOUT = ("setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin", "--ambient-caps=-net_admin")


@pytest.fixture(scope="module", params=[True, False], ids=["privileged", "unprivileged"])
def system(request: pytest.FixtureRequest) -> Iterator[System]:
    """`netvps up`, with or without the right to change the network."""
    if not request.param and shutil.which("setpriv") is None:
        pytest.skip("needs the program setpriv")
    made = new_system()
    try:
        if request.param:
            made.up()
        else:
            ports = [word for name, port in made.ports.items() for word in (f"--{name}-port", str(port))]
            made.run(*_WITHOUT, *NETVPS, "up", *ports, "--drain", "3")
        made.netvps("user", "add", "bob")
        yield made
    finally:
        made.destroy()


def _made(system: System, busybox: str, owner: str = "") -> tuple[str, str, str]:
    """A session that serves on port 8000: its name, its container's, and its address."""
    name = unique("s")
    system.netvps("create", name, "--image", busybox, *(("--owner", owner) if owner else ()))
    full = f"{name}.{owner}" if owner else name
    shown = json.loads(system.netvps("show", full, "-o", "json").stdout)
    container = container_name(shown["uid"])
    docker("exec", "-d", container, "sh", "-c", _SERVE)
    return full, container, shown["address"]


def _reached(system: System, name: str, target: str, port: int) -> bytes:
    return system.ssh(name, f"nc -w 4 {target} {port} </dev/null 2>/dev/null", check=False).stdout


def test_owners_are_apart_by_address_and_by_name_and_their_own_sessions_are_not(system: System, busybox: str) -> None:
    ours, _, _ = _made(system, busybox)
    _, near, near_address = _made(system, busybox)
    _, far, far_address = _made(system, busybox, "bob")
    for target, answer in ((near_address, b"theirs\n"), (near, b"theirs\n"), (far_address, b""), (far, b"")):
        assert _reached(system, ours, target, 8000) == answer, target
    assert _reached(system, ours, far_address, 22) == b""
    asked = system.ssh(ours, f"nslookup {far} 127.0.0.11 | sed 1,2d", check=False).stdout
    assert b"Address" not in asked, asked


def test_what_listens_on_all_addresses_of_the_machine_is_kept_from_sessions_where_that_can_be_done(
    system: System, busybox: str
) -> None:
    name, _, address = _made(system, busybox)
    (runner,) = json.loads(system.netvps("runner", "ls", "-o", "json").stdout)
    problem = runner.get("isolationProblem", "")
    with socket.create_server(("0.0.0.0", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(b"the machine\n")

        threading.Thread(target=serve, daemon=True).start()
        gateway = f"{address.rpartition('.')[0]}.1"
        answer = _reached(system, name, gateway, listener.getsockname()[1])
    assert answer == b"" or "CAP_NET_ADMIN" in problem
    assert (b"CAP_NET_ADMIN" in system.netvps("doctor", check=False).stdout) == bool(problem)


@pytest.mark.parametrize("system", [True], indirect=True, ids=["privileged"])  # it starts netvps again, with all rights
def test_sessions_leave_the_network_that_all_owners_shared(system: System, busybox: str) -> None:
    """As an earlier version left it: a running session of each of two owners is on it."""
    made = [_made(system, busybox), _made(system, busybox, "bob")]
    node = system.runner_uid()
    networks = [isolated_network(node, json.loads(_show(system, name))["owner"].split("/")[-1]) for name, _, _ in made]
    system.netvps("down")
    for (_, container, _), network in zip(made, networks, strict=True):
        docker("network", "disconnect", "-f", network, container)
    for network in docker("network", "ls", "-q", "--filter", f"label=netvps.node={node}").split():
        for container in json.loads(docker("network", "inspect", network))[0]["Containers"]:
            docker("network", "disconnect", "-f", network, container)
        docker("network", "rm", network)
    docker("network", "create", "--label", "netvps.managed=true", SHARED_NETWORK)
    for _, container, _ in made:
        docker("network", "connect", SHARED_NETWORK, container)
    system.up()
    for (name, container, _), network in zip(made, networks, strict=True):
        until(f"{name} is on its owner's network", partial(_is_on, container, network))
    assert SHARED_NETWORK not in docker("network", "ls", "--format", "{{.Name}}").split()
    moved = json.loads(_show(system, made[1][0]))["address"]
    assert _reached(system, made[0][0], moved, 8000) == b""


def _show(system: System, name: str) -> bytes:
    return system.netvps("show", name, "-o", "json").stdout


def _is_on(container: str, network: str) -> bool:
    form = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}"
    return docker("inspect", "-f", form, container).split() == [network]
