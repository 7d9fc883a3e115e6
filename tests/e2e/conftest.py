"""One system for the tests of a module, and the images to make sessions from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.system import System, docker, new_system, unique
from tests.images import busybox_archive, import_image

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def system() -> Iterator[System]:
    """`netvps up`, running."""
    made = new_system()
    try:
        made.up()
        yield made
    finally:
        made.destroy()


@pytest.fixture(scope="session")
def busybox() -> Iterator[str]:
    """An image with one static program in it."""
    name = unique("nve-busybox") + ":latest"
    import_image(busybox_archive(), name)
    yield name
    docker("rmi", "-f", name, check=False)


@pytest.fixture(scope="session")
def debian() -> Iterator[str]:
    """A Debian made on this machine, by the program that people use for that."""
    maker, name = new_system(), unique("nve")
    try:
        maker.netvps("env", "bootstrap", name, timeout=900)
        yield f"netvps/{name}:latest"
    finally:
        docker("rmi", "-f", f"netvps/{name}:latest", check=False)
        maker.destroy()


@pytest.fixture(params=["busybox", "debian"])
def image(request: pytest.FixtureRequest) -> str:
    """Each of the images."""
    return str(request.getfixturevalue(request.param))
