from __future__ import annotations

import pytest

from netvps.domain.access.accounts import Role
from netvps.domain.access.quota import Quota
from netvps.settings.quota_values import parse_amount, parse_quotas, quotas


def test_quotas_of_roles() -> None:
    value = "user:sessions=10, user:memory=16G,user:cpus=2.5,operator:gpus=0"
    assert quotas(value) == value
    assert parse_quotas(value) == {
        Role.USER: Quota(sessions=10, memory_bytes=16 << 30, millicpus=2500),
        Role.OPERATOR: Quota(gpus=0),
    }
    assert parse_quotas("") == {}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("sessions=10", "is not ROLE:RESOURCE=AMOUNT"),
        ("guest:sessions=10", "with a role"),
        ("user:pids=10", "one of sessions, cpus, memory, disk, gpus"),
        ("user:sessions=", "is not an amount of sessions"),
        ("user:sessions=-1", "is not an amount"),
        ("user:sessions=1.5", "is not an amount"),
        ("user:cpus=nan", "is not an amount"),
        ("user:memory=much", "much"),
        ("user:memory=99999999999999T", "is not between 0"),
        ("user:gpus=1,user:gpus=2", "user:gpus is given twice"),
    ],
)
def test_what_is_no_quota(value: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        quotas(value)


def test_amounts() -> None:
    assert parse_amount("disk_bytes", "512M") == 512 << 20
    assert parse_amount("millicpus", "0.01") == 10
