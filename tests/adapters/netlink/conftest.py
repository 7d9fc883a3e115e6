"""A machine with an underlay, entered: eth0 192.0.2.1 ── far."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.namespaces import Namespace, namespace


@pytest.fixture
def host() -> Iterator[Namespace]:
    with namespace() as made:
        made.ip("link", "add", "eth0", "type", "veth", "peer", "name", "far")
        made.ip("address", "add", "192.0.2.1/24", "dev", "eth0")
        made.ip("link", "set", "eth0", "up")
        made.ip("link", "set", "far", "up")
        with made.inside():
            yield made
