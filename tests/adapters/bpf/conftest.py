"""Runners and sessions as namespaces, for each file; and a namespace without anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.adapters.filter.site.lab import Lab, made_lab
from tests.support.namespaces import Namespace, namespace


@pytest.fixture(scope="module")
def hosts() -> Iterator[Lab]:
    """No filter is loaded there."""
    with made_lab() as made:
        yield made


@pytest.fixture(scope="module")
def place() -> Iterator[Namespace]:
    """With two links, one and two, of indexes 11 and 12: kernels make some of their own."""
    with namespace() as made:
        made.ip(*["link", "add", "one", "index", "11", "type", "veth", "peer", "name", "two", "index", "12"])
        yield made
