"""ID tokens that lie, and keys that change."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from typing import Any

import pytest
from joserfc.jwk import KeySet, RSAKey

from netvps.adapters.oidc.id_tokens import IdTokens
from netvps.domain.access.oidc import LoginRules
from netvps.errors import Unauthenticated, Unavailable
from tests.fakes.clock import FakeClock
from tests.support.oidc_issuer import CLIENT, FakeIssuer, new_key, own_key, unsigned

KEY, NEXT, THIRD = own_key(), new_key("two"), new_key("three")
URL = "https://login.example"
NOW = 1_800_000_000


class Keys:
    """What the issuer publishes."""

    def __init__(self, *keys: RSAKey) -> None:
        self.published: Any = KeySet(list(keys)).as_dict(private=False)
        self.fetched = 0

    async def fetch(self) -> dict[str, Any]:
        self.fetched += 1
        found: dict[str, Any] = self.published
        return found


@pytest.fixture
def keys() -> Keys:
    return Keys(KEY)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def tokens(keys: Keys, clock: FakeClock) -> IdTokens:
    return IdTokens(LoginRules(URL, CLIENT, CLIENT), keys.fetch, now=lambda: NOW, monotonic=clock.monotonic)


def signed(key: RSAKey = KEY, **claims: Any) -> str:
    return FakeIssuer(url=URL, key=key, claims={"iat": NOW, "exp": NOW + 300, **claims}).id_token()


def with_hmac(claims: Mapping[str, Any]) -> str:
    """A token whose secret is the key that the issuer publishes."""
    _, payload, _ = unsigned(claims).split(".")
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"one"}').decode().rstrip("=")
    mac = hmac.digest(KEY.as_pem(private=False), f"{header}.{payload}".encode(), "sha256")
    return f"{header}.{payload}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


async def test_a_token_of_the_issuer_is_read(tokens: IdTokens) -> None:
    claims = await tokens.claims(signed(aud=["other", CLIENT]))
    assert claims["sub"] == "8f3a"


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"aud": "other"}, "its aud is 'other'; an admin compares oidc_audience with what the issuer has"),
        ({"aud": None}, "its aud is missing; an admin compares oidc_audience"),
        ({"iss": "https://other.example"}, "its iss is 'https://other.example'; an admin compares oidc_issuer"),
        ({"exp": NOW - 61}, rf"its exp is {NOW - 61}; log in again; an admin compares the clocks"),
        ({"exp": None}, "its exp is missing"),
        ({"exp": "never"}, "its exp is 'never'"),
        ({"iat": NOW + 90}, f"its iat is {NOW + 90}"),
        ({"nbf": NOW + 90}, f"its nbf is {NOW + 90}"),
    ],
)
async def test_a_token_that_is_not_for_here_and_now_is_refused(
    tokens: IdTokens, claims: dict[str, Any], words: str
) -> None:
    with pytest.raises(Unauthenticated, match=f"^the ID token of {URL} is refused: {words}"):
        await tokens.claims(signed(**claims))


async def test_clocks_may_differ_by_a_minute(tokens: IdTokens) -> None:
    await tokens.claims(signed(exp=NOW - 55, iat=NOW + 55))


async def test_only_the_issuers_own_keys_and_algorithms_count(tokens: IdTokens, keys: Keys) -> None:
    good = {"iss": URL, "aud": CLIENT, "iat": NOW, "exp": NOW + 300, "sub": "8f3a"}
    header, payload, signature = signed().split(".")
    lies = {
        "alg none": unsigned(good),
        "another key with that kid": signed(new_key("one")),
        "hmac": with_hmac(good),
        "other claims": f"{header}.{unsigned(good).split('.')[1]}.{signature}",
        "damaged": f"{header}.{payload}",
        "nothing": "",
        "text": "ä.ö.ü",
    }
    for lie, token in lies.items():
        with pytest.raises(Unauthenticated, match=r"is refused: .*; log in again"):
            pytest.fail(f"{lie}: {await tokens.claims(token)}")
    assert keys.fetched <= 2


async def test_a_new_key_is_fetched_once_it_signs(tokens: IdTokens, keys: Keys, clock: FakeClock) -> None:
    await tokens.claims(signed())
    keys.published = KeySet([KEY, NEXT]).as_dict(private=False)
    clock.advance(seconds=11)
    await tokens.claims(signed(NEXT))
    assert keys.fetched == 2
    for _ in range(5):  # a key that the issuer does not have is no reason to ask it again and again
        with pytest.raises(Unauthenticated, match="does not publish the key that signed it"):
            await tokens.claims(signed(THIRD))
    assert keys.fetched == 2


async def test_a_key_that_was_withdrawn_ends_within_an_hour(tokens: IdTokens, keys: Keys, clock: FakeClock) -> None:
    await tokens.claims(signed())
    keys.published = KeySet([NEXT]).as_dict(private=False)
    clock.advance(hours=2)
    with pytest.raises(Unauthenticated, match="does not publish the key"):
        await tokens.claims(signed())


@pytest.mark.parametrize("published", [{}, {"keys": []}, {"keys": 7}, {"keys": [{"kty": "RSA"}]}, {"keys": ["x"]}])
async def test_damaged_keys_are_the_issuers_fault(tokens: IdTokens, keys: Keys, published: Any) -> None:
    keys.published = published
    with pytest.raises(Unavailable, match=r"the keys of the OIDC issuer .* are damaged"):
        await tokens.claims(signed())
