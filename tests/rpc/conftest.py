"""One whole server per test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.rpc.site import Site, open_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with open_site() as opened:
        yield opened
