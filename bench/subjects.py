"""The subjects of the comparison: a session of netvps, and the equivalent container made by hand."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from bench.image import image_with_sshd
from bench.place import Place, run, ssh_options, unique

MEGABYTES: Final = 200
CHANGE: Final = f"dd if=/dev/urandom of=/root/changed bs=1M count={MEGABYTES} status=none && sync /root/changed"
_TRY_AGAIN: Final = 0.005  # seconds between checks whether sshd listens


class Subject(Protocol):
    """A subject with ssh: made, changed, stopped with its files kept, started from them, removed."""

    def make(self) -> None:
        """Creates the subject, until `ssh true` has finished."""

    def change(self) -> None:
        """Writes 200 MB of random bytes."""

    def stop(self) -> None:
        """Stops it; an image keeps the files."""

    def start(self) -> None:
        """Starts it from that image, until `ssh true` has finished."""

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

    def start(self) -> None:
        self._place.netvps("start", self.name)
        self.ssh("true")

    def pause(self) -> None:
        """Freezes it."""
        self._place.netvps("pause", self.name)

    def remove(self) -> None:
        self._place.netvps("rm", "--yes", self.name, check=False)

    def ssh(self, command: str) -> None:
        """Runs a command in it."""
        port = str(self._place.ports["ssh"])
        self._place.run("ssh", *ssh_options(self._place.key), "-p", port, f"{self.name}@127.0.0.1", command)


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
        run("docker", "stop", self._name)
        run("docker", "commit", self._name, self._kept)
        run("docker", "rm", self._name)

    def start(self) -> None:
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
        form = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        self.address = run("docker", "inspect", "-f", form, self._name).strip()
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


Makers = dict[str, Callable[[], Subject]]


@contextlib.contextmanager
def all_three(netvps: str, docker: str) -> Iterator[Makers]:
    """Provides factories for all three subjects, by their names in the result, over one netvps and one image.

    The third is `docker` on a user-defined network, as sessions are on one: Docker gives such a container its own
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
                netvps: lambda: Session(place, image),
                docker: lambda: Container(place, image),
                f"{docker}, made network": lambda: Container(place, image, network),
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
