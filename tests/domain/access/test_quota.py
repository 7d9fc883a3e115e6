from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from netvps.domain.access.quota import (
    NO_LIMIT,
    OF_ROLE,
    RESOURCES,
    Amounts,
    Quota,
    amount_words,
    amounts_of,
    growing,
)
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import InvalidInput

NOW = datetime(2026, 1, 2, tzinfo=UTC)
SPEC = SessionSpec(cpus=1.5, memory_bytes=2 << 30, disk_bytes=3 << 30, gpus=1)


def session(desired: DesiredState = DesiredState.RUNNING, spec: SessionSpec = SPEC) -> Session:
    return Session(
        uid="uid",
        name="dev1",
        owner="alice",
        spec=spec,
        desired=desired,
        generation=1,
        observed_generation=0,
        create_time=NOW,
        update_time=NOW,
        state=SessionState.PENDING,
    )


def test_a_limit_of_its_own_replaces_that_of_the_role() -> None:
    quota = Quota(sessions=3, gpus=NO_LIMIT).over(Quota(sessions=10, memory_bytes=1, gpus=0))
    assert quota == Quota(3, None, 1, None, NO_LIMIT)
    assert [quota.limit(resource) for resource in RESOURCES] == [3, None, 1, None, None]
    assert OF_ROLE.over(quota) == quota


def test_a_limit_is_not_negative() -> None:
    with pytest.raises(InvalidInput, match=r"quota\.gpus: it is not between 0 and"):
        Quota(gpus=-2)


@pytest.mark.parametrize(
    ("found", "amounts"),
    [
        (None, Amounts()),
        (session(), Amounts(1, 1500, 2 << 30, 3 << 30, 1)),
        (session(DesiredState.PAUSED), Amounts(1, 1500, 2 << 30, 3 << 30, 1)),
        (session(DesiredState.STOPPED), Amounts(1, 0, 0, 3 << 30, 0)),
        (session(DesiredState.DELETED), Amounts()),
        (session(spec=SessionSpec()), Amounts(1, None, None, None, 0)),
    ],
)
def test_what_a_session_has(found: Session | None, amounts: Amounts) -> None:
    assert amounts_of(found) == amounts


def test_what_a_session_gets_more_of() -> None:
    one = Amounts(1, 1500, 2, 3, 1)
    assert growing(Amounts(), one) == list(RESOURCES)
    assert growing(one, one) == []
    assert growing(one, replace(one, millicpus=1499, memory_bytes=3)) == ["memory_bytes"]
    assert growing(one, replace(one, disk_bytes=None)) == ["disk_bytes"]
    assert growing(replace(one, disk_bytes=None), one) == []


def test_amounts_in_words() -> None:
    amounts = {"sessions": 1, "millicpus": 2500, "memory_bytes": 4 << 30, "disk_bytes": 512 << 20, "gpus": 2}
    assert [amount_words(*each) for each in amounts.items()] == [
        "1 session",
        "2.5 CPUs",
        "4 GiB of memory",
        "512 MiB of disk",
        "2 GPUs",
    ]
