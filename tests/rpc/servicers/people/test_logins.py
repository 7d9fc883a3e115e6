"""LoginService over real connections, with a real issuer.

So it is the test of netvps.rpc.convert.access.logins, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.adapters.oidc.issuer import Issuer
from netvps.domain.access.audit import AuditQuery
from netvps.domain.access.oidc import LoginRules, LoginState
from netvps.errors import InvalidInput, NotPermitted, Unauthenticated
from netvps.rpc.client.channel import Endpoint
from netvps.rpc.client.trust import fetch_server_info
from tests.fakes.keys import ed25519
from tests.rpc.site import open_site
from tests.support.oidc_issuer import CLIENT, SECRET, FakeIssuer, open_issuer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.domain.access.audit import AuditEvent
    from tests.rpc.site import Site

KEY = ed25519(7)


@pytest.fixture
async def fake() -> AsyncIterator[FakeIssuer]:
    async with open_issuer() as issuer:
        yield issuer


@pytest.fixture
async def site(fake: FakeIssuer) -> AsyncIterator[Site]:
    rules = LoginRules(fake.url, CLIENT, CLIENT, domains=("example.org",))
    async with Issuer(rules, lambda: SECRET) as issuer, open_site(issuer=issuer) as opened:
        yield opened


async def records(site: Site) -> list[AuditEvent]:
    found = await site.do(lambda client: list(client.list_audit_records(AuditQuery(100))))
    return [each.event for each in found if each.event.action.startswith("LoginService/")]


async def test_a_person_logs_in_and_it_is_recorded(site: Site, fake: FakeIssuer) -> None:
    stranger = Endpoint(site.api_address, site.ca.certificate)
    assert (await site.do(lambda _: fetch_server_info(site.api_address))).oidc_issuer == fake.url
    started = await site.do(lambda client: client.start_login(), stranger)
    assert (started.user_code, started.interval) == ("WDJB-MJHT", 1)
    assert "dc-1" not in started.token  # the code that counts stays with the server
    finish = lambda client: client.finish_login(started.token, KEY)  # noqa: E731
    assert await site.do(finish, stranger) is LoginState.PENDING
    assert await records(site) == []
    fake.confirmed = True
    answer = await site.do(finish, stranger)
    assert not isinstance(answer, LoginState)
    user, secret, expire_time = answer
    ann = Endpoint(site.api_address, site.ca.certificate, secret)
    assert await site.do(lambda client: client.get_user("me"), ann) == user
    assert [key.public_key for key in await site.do(lambda client: list(client.list_ssh_keys()), ann)] == [KEY]
    (api_key,) = await site.do(lambda client: list(client.list_api_keys()), ann)
    assert (api_key.title, api_key.expire_time) == ("oidc login", expire_time)
    (done,) = await records(site)
    assert dict(done.details) == {"user": "ann-lee", "subject": "8f3a", "role": "USER", "kid": api_key.kid}
    assert done.origin.startswith("127.0.0.1:")
    assert secret not in repr(done)


async def test_a_refusal_is_recorded_and_makes_nothing(site: Site, fake: FakeIssuer) -> None:
    stranger = Endpoint(site.api_address, site.ca.certificate)
    fake.confirmed = True
    started = await site.do(lambda client: client.start_login(), stranger)
    for lie, kind in (
        ({"aud": "another"}, Unauthenticated),
        ({"email": "ann@evil.example"}, NotPermitted),
    ):
        fake.claims = lie
        with pytest.raises(kind):
            await site.do(lambda client: client.finish_login(started.token, KEY), stranger)
    assert [record.outcome for record in await records(site)] == ["BAD_ID_TOKEN"]  # more of a minute are summed up
    assert "ann-lee" not in [user.name for user in await site.do(lambda client: list(client.list_users()))]


async def test_only_with_a_token_is_the_key_looked_at(site: Site, fake: FakeIssuer) -> None:
    stranger = Endpoint(site.api_address, site.ca.certificate)
    with pytest.raises(Unauthenticated, match="unknown or has expired"):
        await site.do(lambda client: client.finish_login("x", "x"), stranger)
    started = await site.do(lambda client: client.start_login(), stranger)
    with pytest.raises(InvalidInput):
        await site.do(lambda client: client.finish_login(started.token, "x"), stranger)
    assert "token" not in fake.asked
