"""An issuer over real HTTP, and what it gets wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from netvps.adapters.oidc.issuer import Issuer
from netvps.domain.access.oidc import LoginRules, LoginState
from netvps.errors import NetvpsError, Unauthenticated, Unavailable, WrongState
from tests.support.oidc_issuer import ANN, CLIENT, SECRET, FakeIssuer, open_issuer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def fake() -> AsyncIterator[FakeIssuer]:
    async with open_issuer() as issuer:
        yield issuer


@pytest.fixture
async def issuer(fake: FakeIssuer) -> AsyncIterator[Issuer]:
    async with Issuer(LoginRules(fake.url, CLIENT, CLIENT), lambda: SECRET) as made:
        yield made


async def test_a_code_is_confirmed_and_its_claims_are_returned(fake: FakeIssuer, issuer: Issuer) -> None:
    code = await issuer.start()
    assert (code.device_code, code.user_code, code.interval, code.seconds) == ("dc-1", "WDJB-MJHT", 1, 600)
    assert code.verification_uri_complete == f"{fake.url}/confirm?user_code=WDJB-MJHT"
    assert fake.forms[0] == {"client_id": CLIENT, "scope": "openid profile email groups"}
    fake.answers.append({"error": "slow_down"})
    assert await issuer.ask("dc-1") is LoginState.SLOW_DOWN
    assert await issuer.ask("dc-1") is LoginState.PENDING
    fake.confirmed = True
    for _ in range(2):
        claims = await issuer.ask("dc-1")
        assert not isinstance(claims, LoginState)
        assert {name: claims[name] for name in ANN} == ANN
    assert [fake.asked.count(path) for path in ("openid-configuration", "keys")] == [1, 1]  # they are kept


async def test_a_secret_is_sent_in_the_form_where_the_issuer_wants_that(fake: FakeIssuer, issuer: Issuer) -> None:
    fake.metadata["token_endpoint_auth_methods_supported"] = ["client_secret_post"]
    await issuer.start()
    assert fake.forms[0]["client_secret"] == SECRET


@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        ({"error": "access_denied"}, Unauthenticated, "the login was refused in the browser: log in again"),
        ({"error": "expired_token"}, Unauthenticated, "the code has expired: log in again"),
        ({"error": "invalid_grant"}, Unauthenticated, "the code was used already"),
        ({"error": "\x1b[31m"}, WrongState, r"refuses this server as client netvps \('\\x1b\[31m'\): an admin checks"),
        ({"error": ["x"]}, WrongState, "an admin checks oidc_client_id, oidc_client_secret_file"),
        ({"said": "no"}, Unavailable, r"gives no answer of OIDC at .*token' \(status 400\): try again later"),
    ],
)
async def test_a_refusal_of_the_issuer_says_what_to_do(
    fake: FakeIssuer, issuer: Issuer, said: dict[str, Any], kind: type[NetvpsError], words: str
) -> None:
    fake.answers.append(said)
    with pytest.raises(kind, match=words):
        await issuer.ask("dc-1")


async def test_a_wrong_secret_is_the_admins_business(fake: FakeIssuer) -> None:
    async with Issuer(LoginRules(fake.url, CLIENT, CLIENT), lambda: "wrong") as issuer:
        with pytest.raises(WrongState, match=r"refuses this server as client netvps .*invalid_client.*an admin checks"):
            await issuer.start()


async def test_a_secret_that_cannot_be_read_is_the_admins_business_without_its_path(fake: FakeIssuer) -> None:
    def unreadable() -> str:
        raise ValueError("oidc_client_secret_file /etc/netvps/oidc cannot be read")

    async with Issuer(LoginRules(fake.url, CLIENT, CLIENT), unreadable) as issuer:
        with pytest.raises(WrongState, match="an admin checks oidc_client_secret_file") as refused:
            await issuer.start()
    assert "/etc" not in refused.value.message


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({"issuer": "https://other.example"}, "calls itself 'https://other.example': an admin sets oidc_issuer"),
        ({"device_authorization_endpoint": None}, "offers no device flow .* an admin enables the device authorization"),
        ({"token_endpoint": "http://10.0.0.1/token"}, "no https URL as its token_endpoint"),
        ({"token_endpoint": "file:///etc/passwd"}, "no https URL as its token_endpoint"),
        ({"jwks_uri": 7}, "no https URL as its jwks_uri"),
    ],
)
async def test_what_an_issuer_says_of_itself_is_checked(
    fake: FakeIssuer, issuer: Issuer, metadata: dict[str, Any], words: str
) -> None:
    fake.metadata |= metadata
    with pytest.raises(WrongState, match=words):
        await issuer.start()
    assert not fake.forms  # neither code nor secret was sent


@pytest.mark.parametrize(
    ("device", "words"),
    [
        ({"verification_uri": "http://["}, None),  # a browser says what is wrong with it
        ({"verification_uri": "javascript:alert(1)"}, "gives no URL at which to log in"),
        ({"verification_uri_complete": "https://x/\x1b[2J"}, "gives no URL at which to log in"),
        ({"verification_uri": 7}, "gives no URL at which to log in"),
        ({"user_code": "\x1b[2J"}, "gives no usable user_code"),
        ({"device_code": ""}, "gives no usable device_code"),
        ({"expires_in": 10**400, "interval": -1}, None),
        ({"expires_in": "soon", "interval": 1e9}, None),
    ],
)
async def test_what_is_shown_to_a_person_is_checked(
    fake: FakeIssuer, issuer: Issuer, device: dict[str, Any], words: str | None
) -> None:
    fake.device = device
    if words is None:
        code = await issuer.start()
        assert (code.seconds <= 1800, 1 <= code.interval <= 60) == (True, True)
        return
    with pytest.raises(Unavailable, match=words):
        await issuer.start()


@pytest.mark.parametrize("path", ["openid-configuration", "device"])
async def test_a_huge_answer_is_not_read(fake: FakeIssuer, issuer: Issuer, path: str) -> None:
    fake.huge = path
    with pytest.raises(Unavailable, match="sends more than 256 KiB: try again later, or log in with an API key"):
        await issuer.start()


@pytest.mark.parametrize("path", ["token", "keys"])
async def test_one_time_limit_holds_for_all_questions_of_a_call(fake: FakeIssuer, path: str) -> None:
    fake.hangs, fake.confirmed = path, True
    async with Issuer(LoginRules(fake.url, CLIENT, CLIENT), lambda: SECRET, seconds=0.2) as issuer:
        with pytest.raises(Unavailable, match=r"did not answer within 0\.2 s: try again later"):
            await issuer.ask("dc-1")


async def test_an_issuer_that_is_down_or_has_another_certificate_is_named(fake: FakeIssuer) -> None:
    rules = LoginRules(fake.url, CLIENT, CLIENT)
    for url in ("http://127.0.0.1:1", fake.url.replace("http", "https")):
        async with Issuer(replace(rules, issuer=url), lambda: SECRET) as issuer:
            with pytest.raises(Unavailable, match=f"the OIDC issuer {url} cannot be reached .*an admin checks oidc"):
                await issuer.start()
