"""What filters of sessions and runners match, and how they order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from netvps.domain.filter.kinds import RunnerFilter, SessionFilter
from netvps.domain.runner.runner import Capacity, Runner, RunnerState
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import InvalidInput

NOW = datetime(2026, 5, 4, tzinfo=UTC)
HOUR_LATER = NOW + timedelta(hours=1)


def session(name: str, *, image: str = "debian:12", labels: dict[str, str] | None = None, **more: Any) -> Session:
    spec = SessionSpec(image=image, labels=labels or {})
    created = more.pop("create_time", NOW)
    return Session(f"uid-{name}", name, more.pop("owner", "alice"), spec, DesiredState.RUNNING, 1, created, NOW, **more)


SESSIONS = [
    session("api", state=SessionState.RUNNING, runner_name="box1", labels={"team": "Web", "env/tier": "a_b"}),
    session("api2", owner="bob", image="ghcr.io/x/API:1", state=SessionState.STOPPED, runner_name="box12"),
    session("db", address="10.128.0.7", labels={"team": "50% off"}, create_time=NOW + timedelta(microseconds=1)),
    session(
        "web",
        overlay_address="10.128.4.9",
        address="172.17.0.2",
        labels={"team": ""},
        state=SessionState.FAILED,
        create_time=NOW - timedelta(days=1),
    ),
]
CASES = [
    ("", "api api2 db web"),
    ("api", "api api2"),
    ("API", "api api2"),
    ("name=api", "api"),
    ("NAME=api", "api"),
    ("name!=api", "api2 db web"),
    ("-name=api", "api2 db web"),
    ("NOT name=api", "api2 db web"),
    ("-name!=api", "api"),
    ("state=running", "api"),
    ("state:ed", "api2 web"),
    ("runner=box1", "api"),
    ("runner:box1", "api api2"),
    ('runner=""', "db web"),
    ("owner=bob", "api2"),
    ("debian:12", "api db web"),
    ("image:ghcr", "api2"),
    ("image=ghcr.io/x/api:1", "api2"),
    ("labels.team=web", "api"),
    ("labels.team:*", "api db web"),
    ("-labels.team:*", "api2"),
    ("labels.team!=web", "api2 db web"),
    ('labels.team=""', "web"),
    ('labels.team:"50% "', "db"),
    ("labels.team:_", ""),
    ("labels.env/tier:_", "api"),
    ("10.128", "db web"),
    ("address=10.128.4.9", "web"),
    ("172.17", ""),
    ("api AND state=STOPPED", "api2"),
    ("  api   -bob  ", "api"),
    ('"or"', ""),
    ("or", ""),
    ("name=api OR name=db", "api db"),
    ("alice name=api OR name=api2", "api"),
    ("(owner=alice name=api) OR name=api2", "api api2"),
    ("-(state=running OR state=stopped)", "db web"),
    ("NOT (api AND (bob OR web)) AND alice", "api db web"),
    ("((db))", "db"),
    ("create_time>=2026-05-04", "api api2 db"),
    ("create_time>2026-05-04T00:00:00Z", "db"),
    ("create_time=2026-05-04T02:00:00+02:00", "api api2"),
    ("create_time!=2026-05-04", "db web"),
    ("create_time<2026-05-04", "web"),
    ("create_time<=2026-05-04T00:00:00.000000Z", "api api2 web"),
    ('create_time<="2026-05-04 00:00:00.000001Z"', "api api2 db web"),
    ("labels:team", "api db web"),
    ("-labels:env/tier", "api2 db web"),
    ("%", ""),
    ("\\", ""),
    ("'; drop table session; --", None),
]

ORDERS = [
    ("", "api api2 db web"),
    ("name desc", "web db api2 api"),
    ("create_time", "web api api2 db"),
    ("create_time desc, name desc", "db api2 api web"),
    ("owner desc,image, state desc", "api2 api db web"),
    ("runner", "db web api api2"),
    ("state asc", "web db api api2"),
    ("address desc,create_time", "web db api api2"),
]
RUNNERS = [
    Runner(
        "r1", "box1", NOW, NOW, RunnerState.ONLINE, "1.2", Capacity(architecture="amd64"), labels=("rack=3", "gpu=")
    ),
    Runner("r2", "box2", HOUR_LATER, NOW, version="1.10", cordoned=True, labels=("rack=30", "rack=3", "os=x=Y")),
    Runner("r3", "box3", NOW, NOW, RunnerState.ONLINE, capacity=Capacity(architecture="arm64")),
]
RUNNER_CASES = [
    ("", "box1 box2 box3"),
    ("box", "box1 box2 box3"),
    ("state=online", "box1 box3"),
    ("cordoned=false arm64", "box3"),
    ("cordoned=true", "box2"),
    ("labels.rack=3", "box1"),
    ("labels.rack:3", "box1 box2"),
    ("labels.os=x=y", "box2"),
    ("labels.gpu:*", "box1"),
    ('labels.gpu=""', "box1"),
    ("-labels:rack", "box3"),
    ("version=1.10 OR architecture=amd64", "box1 box2"),
    ("create_time>2026-05-04", "box2"),
]


@pytest.mark.parametrize(("text", "names"), CASES)
def test_terms_match(text: str, names: str | None) -> None:
    if names is None:
        assert [one.name for one in SESSIONS if SessionFilter.parse(text).matches(one)] == []
    else:
        assert [one.name for one in SESSIONS if SessionFilter.parse(text).matches(one)] == names.split()


@pytest.mark.parametrize(("order_by", "names"), ORDERS)
def test_orders(order_by: str, names: str) -> None:
    assert [one.name for one in SessionFilter.parse("", order_by).sorted(SESSIONS)] == names.split()


@pytest.mark.parametrize(("text", "names"), RUNNER_CASES)
def test_runners_match(text: str, names: str) -> None:
    assert [one.name for one in RUNNERS if RunnerFilter.parse(text).matches(one)] == names.split()


def test_errors_of_filter_and_order_come_together() -> None:
    with pytest.raises(InvalidInput) as caught:
        RunnerFilter.parse("owner=alice", "owner")
    assert [violation.field for violation in caught.value.violations] == ["filter", "order_by"]
    assert "there is no field 'owner': use name, state, cordoned," in str(caught.value)


def test_a_filter_knows_its_text() -> None:
    assert SessionFilter.parse(" ", "").text == ""
    assert len({SessionFilter.parse(*words).text for words in [("a",), ("", "name"), ("name",), ("a", "name")]}) == 4
