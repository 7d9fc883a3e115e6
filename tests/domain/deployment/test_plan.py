"""What a deployment would change: the least, in words that have no value of a variable."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from netvps.domain.deployment.plan import Action, Plan, make_plan
from netvps.domain.deployment.service import Deployment, Route, Service
from netvps.domain.http.stored import Audience, NamedUrl, StoredUrl
from netvps.domain.names import SessionName
from netvps.domain.session.lifecycle import new_session
from netvps.domain.session.session import Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import AlreadyExists

NOW = datetime(2026, 5, 4, tzinfo=UTC)
WEB = Service(
    "web", "nginx:1", ("serve",), {"MODE": "hunter2"}, 1.0, 512 << 20, 8080, Route("shop.example", Audience.PUBLIC)
)
BOBS = Route("shop.example", Audience.USERS, ("bob",))
SHOP = Deployment("shop", (WEB,))


def session(service: Service = WEB, name: str = "", deployment: Deployment = SHOP) -> Session:
    name = name or deployment.session_name(service.name)
    made = new_session(f"uid-{name}", SessionName("ann", name), deployment.spec_of(service), NOW)
    return replace(made, state=SessionState.RUNNING)


def url(
    of: str = "shop-web", port: int = 8080, audience: Audience = Audience.PUBLIC, host: str = "shop.example"
) -> NamedUrl:
    return NamedUrl(StoredUrl("", "ann", port, audience, NOW, host), SessionName("ann", of), "")


def planned(service: Service, *sessions: Session, urls: tuple[NamedUrl, ...] = (url(),)) -> Plan:
    return make_plan(Deployment("shop", (service,)), sessions or (session(),), urls)


def test_what_is_as_declared_stays() -> None:
    plan = planned(WEB)
    assert [(step.action, step.changes) for step in plan.steps] == [(Action.KEEP, ())]
    assert plan.is_empty


def test_what_is_not_there_is_created_and_what_is_not_declared_is_removed() -> None:
    plan = make_plan(SHOP, [session(name="shop-old"), session(name="shop-web-ab12cd")], [])
    assert [(step.action, step.session) for step in plan.steps] == [
        (Action.CREATE, "shop-web"), (Action.REMOVE, "shop-old"), (Action.REMOVE, "shop-web-ab12cd"),
    ]  # fmt: skip
    assert plan.steps[0].changes == (
        "image: nginx:1", "cpus: 1", "memory: 512 MiB", "route: shop.example → port 8080 (public)",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "action", "words"),
    [
        ({"image": "nginx:2"}, Action.REPLACE, "image: nginx:1 → nginx:2"),
        ({"command": ()}, Action.REPLACE, "command: another one"),
        ({"env": {"MODE": "x"}}, Action.REPLACE, "environment: MODE changes"),
        ({"env": {}}, Action.REPLACE, "environment: MODE goes"),
        ({"env": {"MODE": "hunter2", "A": ""}}, Action.REPLACE, "environment: A is new"),
        ({"cpus": 0.0}, Action.CHANGE, "cpus: 1 → no limit"),
        ({"memory_bytes": 1 << 30}, Action.CHANGE, "memory: 512 MiB → 1 GiB"),
        ({"idle_timeout": 0.0}, Action.CHANGE, "idle_timeout: the server's default → never"),
        ({"idle_timeout": 60.0}, Action.CHANGE, "idle_timeout: the server's default → 60 s"),
        ({"port": 80, "route": Route()}, Action.CHANGE, "port: 8080 → 80"),
        ({"route": Route()}, Action.CHANGE, "route: shop.example goes"),
        ({"route": BOBS}, Action.CHANGE, "route: shop.example → port 8080 (bob)"),
    ],
)  # fmt: skip
def test_a_difference_needs_another_container_or_none(changes: dict[str, object], action: Action, words: str) -> None:
    plan = planned(replace(WEB, **changes))  # type: ignore[arg-type]
    assert [(step.action, step.changes[:1]) for step in plan.steps] == [(action, (words,))]
    assert plan.revision != planned(WEB).revision
    assert "hunter2" not in str(plan.steps[0].changes)


def test_a_failed_session_gets_another_container() -> None:
    failed = replace(session(), state=SessionState.FAILED, message="no such image")
    assert planned(WEB, failed).steps[0].changes == ("state: it failed (no such image)",)


def test_links_and_urls_of_other_sessions_do_not_count() -> None:
    link = url(audience=Audience.LINK, host="link-1")
    assert planned(
        WEB,
        session(),
        replace(session(), name="dev1", spec=SessionSpec()),
        urls=(url(), link, url("dev1", host="b.example")),
    ).is_empty


def test_a_name_and_a_host_of_another_deployment_say_which() -> None:
    blog = Deployment("blog", (WEB,))
    with pytest.raises(
        AlreadyExists,
        match=r"^service web cannot be served at shop\.example: session blog-web, which belongs to deployment blog",
    ):
        make_plan(SHOP, [session(deployment=blog)], [url("blog-web")])
    plain = replace(session(), spec=SessionSpec(image="x"))
    with pytest.raises(
        AlreadyExists, match=r"^service web needs the name of session shop-web, which belongs to no deployment"
    ):
        make_plan(SHOP, [plain], [])


def test_the_revision_differs_once_what_is_touched_moved() -> None:
    changed = replace(WEB, cpus=2.0)
    first = planned(changed)
    assert planned(changed).revision == first.revision
    moved = [
        planned(changed, replace(session(), uid="another")),
        planned(changed, replace(session(), spec=replace(session().spec, memory_bytes=1 << 30))),
        planned(changed, urls=()),
        planned(replace(changed, image="nginx:2")),
    ]
    assert len({first.revision, *(plan.revision for plan in moved)}) == 5
    reported = replace(session(), revision=9, message="runs", observed_generation=4)
    assert planned(changed, reported).revision == first.revision
