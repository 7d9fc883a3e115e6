"""Checks ID tokens: signature, issuer, audience and times."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from netvps.errors import Unauthenticated, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from netvps.domain.access.oidc import Claims, LoginRules

ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "Ed25519",
    "EdDSA",
)
"""Those of public keys: never "none", and no HMAC, whose key would be one that the issuer publishes."""
SKEW: Final = 60
"""Seconds by which the issuer's clock and this one may differ."""
_KEPT, _AGAIN = 3600.0, 10.0
"""Seconds that keys are used without fetching them again, and between two fetches for a key that is not among them."""
_SETTINGS: Final = {"iss": "oidc_issuer", "aud": "oidc_audience"}


class IdTokens:
    """Checks the ID tokens of one issuer, with its keys, which it rotates."""

    def __init__(
        self,
        rules: LoginRules,
        fetch: Callable[[], Awaitable[dict[str, Any]]],
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`fetch` returns the issuer's key set (JWKS)."""
        self._rules = rules
        self._fetch = fetch
        self._now = now
        self._monotonic = monotonic
        self._keys: tuple[KeySet | None, float] = None, 0.0

    async def claims(self, token: str) -> Claims:
        """The claims of a token. Raises Unauthenticated, and Unavailable if the keys cannot be fetched."""
        found = await self._signed(token)
        rules = self._rules
        expected = jwt.JWTClaimsRegistry(
            now=lambda: int(self._now()),
            leeway=SKEW,
            iss={"essential": True, "value": rules.issuer},
            aud={"essential": True, "value": rules.audience},
            exp={"essential": True},
            iat={"essential": True},
        )
        try:
            expected.validate(found)
        except JoseError as error:
            claim = str(getattr(error, "claim", "exp"))
            setting = _SETTINGS.get(claim)
            remedy = (
                f"an admin compares {setting} with what the issuer has for this client"
                if setting
                else "log in again; an admin compares the clocks of this server and the issuer"
            )
            raise _refused(rules, f"its {claim} is {_value(found, claim)}", remedy) from None
        return found

    async def _signed(self, token: str) -> dict[str, Any]:
        """The claims of a token that the issuer signed. Raises Unauthenticated, Unavailable."""
        try:
            try:
                return jwt.decode(token, await self._known(_KEPT), ALGORITHMS).claims
            except InvalidKeyIdError:  # a new key
                return jwt.decode(token, await self._known(_AGAIN), ALGORITHMS).claims
        except InvalidKeyIdError:
            why = "the issuer does not publish the key that signed it"
        except (JoseError, ValueError, TypeError, RecursionError) as error:
            why = str(error) or type(error).__name__
        raise _refused(self._rules, why, "log in again, or report it to who runs the issuer")

    async def _known(self, seconds: float) -> KeySet:
        """Keys that were fetched at most this long ago. Raises Unavailable."""
        keys, fetched = self._keys
        now = self._monotonic()
        if keys is None or now - fetched > seconds:
            found = await self._fetch()
            try:
                keys = KeySet.import_key_set(found)  # type: ignore[arg-type]  # it raises for what is none
            except (JoseError, ValueError, TypeError, KeyError, AttributeError):
                raise Unavailable(
                    f"the keys of the OIDC issuer {self._rules.issuer} are damaged: report it to who runs the issuer, "
                    "or log in with an API key",
                    reason="OIDC_ISSUER",
                ) from None
            self._keys = keys, now
        return keys


def _value(claims: dict[str, Any], claim: str) -> str:
    value = claims.get(claim)
    return "missing" if value is None else repr(value)[:200]


def _refused(rules: LoginRules, why: str, remedy: str) -> Unauthenticated:
    return Unauthenticated(f"the ID token of {rules.issuer} is refused: {why}; {remedy}", reason="BAD_ID_TOKEN")
