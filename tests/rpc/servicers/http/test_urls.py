"""UrlService over real connections; so netvps.rpc.convert.http.urls and netvps.rpc.client.calls.urls, too."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.api.v1 import url_pb2 as pb
from netvps.domain.http.stored import Audience
from netvps.errors import InvalidInput, NotFound
from netvps.rpc.convert.http.urls import parse_url_name, update_from_proto
from tests.rpc.site import default_spec

if TYPE_CHECKING:
    from tests.rpc.site import Site


async def test_urls(site: Site) -> None:
    alice, bob = await site.remote("alice"), await site.remote("bob")
    await site.do(lambda client: client.create_session("dev1", default_spec()), alice)
    url = await site.do(lambda client: client.get_url("dev1", 3000), alice)
    assert (str(url.place.session), url.place.port) == ("dev1.alice", 3000)
    assert url.uri == "http://3000--dev1--alice.localhost:7481/"
    assert (await site.do(lambda client: client.get_url("dev1"), alice)).place.port == 8080
    login = await site.do(lambda client: client.create_url_login("dev1"), alice)
    assert login.startswith("http://dev1--alice.localhost:7481/.netvps/enter?code=")
    with pytest.raises(NotFound, match=r"no session dev1\.alice"):
        await site.do(lambda client: client.create_url_login("dev1.alice"), bob)


async def test_stored_urls(site: Site) -> None:
    alice, bob = await site.remote("alice"), await site.remote("bob")
    await site.do(lambda client: client.create_session("dev1", default_spec()), alice)
    end = datetime.now(UTC) + timedelta(hours=1)
    shown = await site.do(
        lambda client: client.put_url("dev1", 3000, Audience.USERS, users=["bob"], expire_time=end), alice
    )
    assert (str(shown.session), shown.url.id, shown.url.users) == ("dev1.alice", "3000", ("bob",))
    assert shown.url.expire_time == end
    await site.do(lambda client: client.put_url("dev1", 80, Audience.PUBLIC, host="shop.example"), alice)
    link, uri = await site.do(lambda client: client.create_url_link("dev1", end), alice)
    assert uri.startswith("http://dev1--alice.localhost:7481/.netvps/link?key=")
    listed = await site.do(lambda client: list(client.list_urls("dev1")), alice)
    assert {named.url.id for named in listed} == {"3000", "shop.example", link.url.id}
    assert await site.do(lambda client: list(client.list_urls()), bob) == []
    for id_ in ("3000", "shop.example", link.url.id):
        await site.do(lambda client, id_=id_: client.delete_url("dev1", id_), alice)  # type: ignore[misc]
    assert await site.do(lambda client: list(client.list_urls()), alice) == []


@pytest.mark.parametrize(
    ("url", "field"),
    [
        (pb.Url(name="sessions/dev1/urls/80", port=81), "url.port"),
        (pb.Url(name="sessions/dev1/urls/shop.example"), "url.port"),
        (pb.Url(name="sessions/dev1/urls/"), "url.name"),
        (pb.Url(name="sessions/dev1/urls/80", audience=9), "url.audience"),  # type: ignore[arg-type]
        (pb.Url(name="sessions/dev1/urls/80", users=["B"]), "url.users"),
    ],
)
def test_urls_that_cannot_be_stored(url: pb.Url, field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        update_from_proto(pb.UpdateUrlRequest(url=url))
    assert [violation.field for violation in error.value.violations] == [field]


@pytest.mark.parametrize(
    "name", ["sessions/dev1", "sessions/dev1/urls/", "sessions/dev1/urls/0", "sessions/dev1/urls/65536"]
)
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(InvalidInput):
        parse_url_name(name)
