from __future__ import annotations

import pytest

from netvps.domain.overlay.mtu import overlay_mtu
from netvps.errors import ConfigError


def test_the_overlay_takes_its_headers_from_the_underlay() -> None:
    assert overlay_mtu(1500, "192.0.2.1") == 1450
    assert overlay_mtu(1500, "2001:db8::1") == 1430
    assert overlay_mtu(9000, "192.0.2.1") == 8950


def test_an_underlay_that_is_too_small_is_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"MTU of the underlay at 192.0.2.1 is 600, but the overlay needs at least 626"
    ):
        overlay_mtu(600, "192.0.2.1")
