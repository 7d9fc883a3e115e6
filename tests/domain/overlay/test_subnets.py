from __future__ import annotations

from netvps.domain.overlay.subnets import alike, mask_of
from tests.adapters.filter.rules.test_subnets import CIDRS, subnet_view


def test_the_mask_is_that_of_ones_own_subnet() -> None:
    assert [mask_of(subnet_view(n)) for n in (0, 2, 3)] == ["255.255.252.0", "255.255.254.0", "255.255.0.0"]
    assert [alike(subnet_view(0), cidr) for cidr in CIDRS] == [True, True, False, False]
