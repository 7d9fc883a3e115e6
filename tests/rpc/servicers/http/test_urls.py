"""UrlService over real connections; so netvps.rpc.convert.http.urls and netvps.rpc.client.calls.urls, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.errors import InvalidInput, NotFound
from netvps.rpc.convert.http.urls import parse_url_name
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


@pytest.mark.parametrize(
    "name", ["sessions/dev1", "sessions/dev1/urls/", "sessions/dev1/urls/0", "sessions/dev1/urls/65536"]
)
def test_a_name_that_is_none(name: str) -> None:
    with pytest.raises(InvalidInput):
        parse_url_name(name)
