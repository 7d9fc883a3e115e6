"""The subjects of the comparison: a session of netvps, and the equivalent container made by hand."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

import docker

from bench.image import image_with_sshd
from bench.place import Place, run, ssh_options, unique
from netvps.client import Client, Endpoint, SessionState
from netvps.domain.runner.docker_names import container_name

MEGABYTES: Final = 200
CHANGE: Final = f"dd if=/dev/urandom of=/root/changed bs=1M count={MEGABYTES} status=none && sync /root/changed"
_TRY_AGAIN: Final = 0.005  # seconds between checks whether sshd listens


class Subject(Protocol):
    """A subject with ssh: made, changed, stopped with its files kept, started again, removed."""

    def make(self) -> None:
        """Creates the subject, until `ssh true` has finished."""

    def change(self) -> None:
        """Writes 200 MB of random bytes."""

    def stop(self) -> None:
        """Stops it; an image keeps the files."""

    def rest(self) -> None:
        """Stops it; its container is kept, and no work on its files goes on."""

    def lose(self) -> None:
        """Removes the container of a resting one; a snapshot or an image keeps the files."""

    def start(self) -> None:
        """Starts the kept container, until `ssh true` has finished."""

    def remake(self) -> None:
        """Starts it from its files alone, until `ssh true` has finished."""

    def remove(self) -> None:
        """Removes everything."""


class Session:
    """A session, reached through the gateway."""

    def __init__(self, place: Place, image: str) -> None:
        self._place, self._image, self.name = place, image, unique("s")

    def make(self) -> None:
        self._place.netvps("create", self.name, "--image", self._image)
        self.ssh("true")

    def change(self) -> None:
        self.ssh(CHANGE)

    def stop(self) -> None:
        self._place.netvps("stop", self.name)

    def rest(self) -> None:
        self._place.netvps("stop", self.name, "--wait-snapshot")

    def lose(self) -> None:
        uid = str(json.loads(self._place.netvps("show", self.name, "-o", "json"))["uid"])
        run("docker", "rm", container_name(uid))

    def start(self) -> None:
        self._place.netvps("start", self.name)
        self.ssh("true")

    def remake(self) -> None:
        self.start()

    def pause(self) -> None:
        """Freezes it."""
        self._place.netvps("pause", self.name)

    def remove(self) -> None:
        self._place.netvps("rm", "--yes", self.name, check=False)

    def ssh(self, command: str) -> None:
        """Runs a command in it."""
        port = str(self._place.ports["ssh"])
        self._place.run("ssh", *ssh_options(self._place.key), "-p", port, f"{self.name}@127.0.0.1", command)


class ClientSession(Session):
    """A session that is started through a connected Python client, without a new process."""

    def __init__(self, place: Place, image: str) -> None:
        super().__init__(place, image)
        self._client = Client(Endpoint(place.socket))
        self._client.get_user()  # connects

    def start(self) -> None:
        self._client.start_session(self.name)
        self._client.wait(self.name, SessionState.RUNNING, 60)
        self.ssh("true")

    def remove(self) -> None:
        self._client.close()
        super().remove()


class Container:
    """A container whose sshd is reached directly; on Docker's default network unless one is named."""

    def __init__(self, place: Place, image: str, network: str = "bridge") -> None:
        self._key, self._image, self._name, self._kept = place.key, image, unique("nvb-c"), unique("nvb-kept")
        self._network = network
        self.address = ""

    def make(self) -> None:
        self._run(self._image)

    def change(self) -> None:
        self.ssh(CHANGE)

    def stop(self) -> None:
        self.rest()
        self.lose()

    def rest(self) -> None:
        run("docker", "stop", self._name)

    def lose(self) -> None:
        run("docker", "commit", self._name, self._kept)
        run("docker", "rm", self._name)

    def start(self) -> None:
        run("docker", "start", self._name)
        self._log_in()

    def remake(self) -> None:
        self._run(self._kept)

    def pause(self) -> None:
        """Freezes it."""
        run("docker", "pause", self._name)

    def wake(self) -> None:
        """Lets it go on, until `ssh true` has finished."""
        run("docker", "unpause", self._name)
        self.ssh("true")

    def remove(self) -> None:
        run("docker", "rm", "-f", self._name, check=False)
        run("docker", "rmi", "-f", self._kept, check=False)

    def ssh(self, command: str) -> None:
        """Runs a command in it."""
        run("ssh", *ssh_options(self._key), f"root@{self.address}", command)

    def _run(self, image: str) -> None:
        run("docker", "run", "-d", "--network", self._network, "--name", self._name, image, "/usr/sbin/sshd", "-D")
        self._log_in()

    def _find(self) -> str:
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return run("docker", "inspect", "-f", form, self._name).strip()

    def _log_in(self) -> None:
        self.address = self._find()  # each start may give it another one
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection((self.address, 22), timeout=1).close()
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_TRY_AGAIN)
        self.ssh("true")


class ClientContainer(Container):
    """A container that is started through a connected Docker client, without a new process."""

    def __init__(self, place: Place, image: str, network: str = "bridge") -> None:
        super().__init__(place, image, network)
        self._client = docker.from_env()
        self._client.ping()  # connects

    def start(self) -> None:
        self._client.api.start(self._name)
        self._log_in()

    def remove(self) -> None:
        self._client.close()
        super().remove()

    def _find(self) -> str:
        networks = self._client.api.inspect_container(self._name)["NetworkSettings"]["Networks"]
        return str(networks[self._network]["IPAddress"])


Makers = dict[str, Callable[[], Subject]]


@contextlib.contextmanager
def all_three(
    netvps: str, by_hand: str, session: type[Session] = Session, container: type[Container] = Container
) -> Iterator[Makers]:
    """Provides factories for all three subjects, by their names in the result, over one netvps and one image.

    The third is `by_hand` on a user-defined network, as sessions are on one: Docker gives such a container its own
    name server, which adds 20 to 50 ms to each start and stop.

    Another user's session runs throughout: the first session on a machine creates the network and the last one removes
    it, which `docker run` on Docker's default network never does.
    """
    with Place() as place, image_with_sshd(place) as image, _network() as network:
        place.up()
        neighbour = Session(place, image)
        neighbour.make()
        try:
            yield {
                netvps: lambda: session(place, image),
                by_hand: lambda: container(place, image),
                f"{by_hand}, made network": lambda: container(place, image, network),
            }
        finally:
            neighbour.remove()


@contextlib.contextmanager
def pair() -> Iterator[tuple[Session, Container]]:
    """Provides a running session and a running container, of one image."""
    with Place() as place, image_with_sshd(place) as image:
        place.up()
        session, container = Session(place, image), Container(place, image)
        try:
            session.make()
            container.make()
            yield session, container
        finally:
            session.remove()
            container.remove()


@contextlib.contextmanager
def _network() -> Iterator[str]:
    name = unique("nvb-net")
    run("docker", "network", "create", name)
    try:
        yield name
    finally:
        run("docker", "network", "rm", name, check=False)


def timed(make: Callable[[], Subject], *before: str, step: str) -> float:
    """Measures a step of a new subject in milliseconds, after the steps `before`; removes the subject."""
    subject = make()
    try:
        for name in before:
            getattr(subject, name)()
        subprocess.run(["sync"], check=True, timeout=300)  # earlier writes must not count here
        began = time.perf_counter()
        getattr(subject, step)()
        return (time.perf_counter() - began) * 1000
    finally:
        subject.remove()
