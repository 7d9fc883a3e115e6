"""The image that both sides run: a Debian with OpenSSH's server, and one key that may log in."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from bench.place import Place, run, unique

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEBIAN: Final = "netvps/debian:latest"  # what scripts/up makes
_BAKE: Final = """
apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends openssh-server
apt-get clean && mkdir -p /run/sshd && mkdir -p -m 700 /root/.ssh && cat >/root/.ssh/authorized_keys
"""


@contextlib.contextmanager
def image_with_sshd(place: Place, base: str = "") -> Iterator[str]:
    """Builds the image, of a base image or else of Debian, and provides its name. Needs Debian's mirrors."""
    name, baker = unique("nvb-sshd") + ":latest", unique("nvb-baker")
    with contextlib.ExitStack() as stack:
        base = base or stack.enter_context(debian(place))
        try:
            bake = ("--network", "host", base, "sh", "-ec", _BAKE)
            run("docker", "run", "-i", "--name", baker, *bake, data=(place.key.with_suffix(".pub")).read_bytes())
            run("docker", "commit", baker, name)
        finally:
            run("docker", "rm", "-f", baker, check=False)
        try:
            yield name
        finally:
            run("docker", "rmi", "-f", name, check=False)


@contextlib.contextmanager
def debian(place: Place) -> Iterator[str]:
    """Provides Debian's image, made if it is missing."""
    if run("docker", "images", "-q", _DEBIAN):
        yield _DEBIAN
        return
    name = unique("nvb-debian")
    try:
        place.netvps("env", "bootstrap", name)
        yield f"netvps/{name}:latest"
    finally:
        run("docker", "rmi", "-f", f"netvps/{name}:latest", check=False)
