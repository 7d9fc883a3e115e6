"""Asks an OIDC issuer: its endpoints (OpenID Connect Discovery), its keys, and logins by the device flow (RFC 8628)."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import quote_plus, urlsplit

import aiohttp

from netvps.adapters.oidc.id_tokens import IdTokens
from netvps.domain.access.oidc import DeviceCode, LoginState
from netvps.domain.checks import shown
from netvps.errors import NetvpsError, Unauthenticated, Unavailable, WrongState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from netvps.domain.access.oidc import Claims, LoginRules

SECONDS: Final = 15.0
"""All that one call asks of the issuer, together."""
MAX_ANSWER: Final = 256 << 10
_DISCOVERED_SECONDS: Final = 3600.0
_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
_STATES: Final = {"authorization_pending": LoginState.PENDING, "slow_down": LoginState.SLOW_DOWN}
_ENDED: Final = {
    "access_denied": "the login was refused in the browser",
    "expired_token": "the code has expired",
    "invalid_grant": "the code was used already, or has expired",
}
_DEVICE, _TOKEN, _KEYS = "device_authorization_endpoint", "token_endpoint", "jwks_uri"
_LOOPBACK: Final = re.compile(r"localhost|127\.\d+\.\d+\.\d+|::1")
_SERVER_ERROR: Final = 500
_CODE_MAX, _TEXT_MAX = 4096, 2048
_INTERVAL, _INTERVAL_MAX, _LIFE_MAX = 5.0, 60.0, 1800.0


class Issuer:
    """One issuer: services.ports.OidcIssuer. An async context manager."""

    def __init__(self, rules: LoginRules, secret: Callable[[], str], *, seconds: float = SECONDS) -> None:
        """`secret` reads the client's secret, '' for none; `seconds` is how long a call may take."""
        self.rules = rules
        self._secret = secret
        self._seconds = seconds
        self._tokens = IdTokens(rules, self._fetch_keys)
        self._discovered: tuple[dict[str, Any], float] = {}, 0.0

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), headers={"Accept": "application/json", "Accept-Encoding": "identity"}
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def start(self) -> DeviceCode:
        """Asks for a code. Raises Unavailable, WrongState."""
        with self._failures():
            async with asyncio.timeout(self._seconds):
                answer = await self._post(_DEVICE, {"scope": "openid profile email groups"})
                if answer.get("error") == "invalid_scope":  # of an issuer that has no groups
                    answer = await self._post(_DEVICE, {"scope": "openid profile email"})
        if "error" in answer:
            raise self._client_refused(answer)
        complete = answer.get("verification_uri_complete")
        return DeviceCode(
            self._text(answer, "device_code", _CODE_MAX),
            self._text(answer, "user_code", 64),
            self._shown_url(answer.get("verification_uri") or answer.get("verification_url")),
            self._shown_url(complete) if complete else "",
            _number(answer.get("expires_in"), _LIFE_MAX, _LIFE_MAX),
            max(_number(answer.get("interval"), _INTERVAL, _INTERVAL_MAX), 1.0),
        )

    async def ask(self, device_code: str) -> Claims | LoginState:
        """The claims of the person who confirmed, or how far the login is.

        Raises Unauthenticated, Unavailable, WrongState.
        """
        with self._failures():
            async with asyncio.timeout(self._seconds):
                answer = await self._post(_TOKEN, {"grant_type": _GRANT, "device_code": device_code})
                said = answer.get("error")
                if said is None:
                    return await self._tokens.claims(str(answer.get("id_token", "")))
        if isinstance(said, str) and said in _STATES:
            return _STATES[said]
        if isinstance(said, str) and said in _ENDED:
            raise Unauthenticated(f"{_ENDED[said]}: log in again, with netvps login HOST --sso", reason="LOGIN_ENDED")
        raise self._client_refused(answer)

    async def _fetch_keys(self) -> dict[str, Any]:
        return await self._answer("GET", (await self._endpoints())[_KEYS])

    async def _post(self, endpoint: str, form: dict[str, str]) -> dict[str, Any]:
        endpoints = await self._endpoints()
        if endpoint not in endpoints:
            raise WrongState(
                f"the OIDC issuer {self.rules.issuer} offers no device flow ({endpoint} is missing): an admin enables"
                " the device authorization grant there",
                reason="OIDC_ISSUER",
            )
        try:
            secret = await asyncio.to_thread(self._secret)
        except ValueError:  # names a path, which is not for strangers
            raise WrongState(
                "the server cannot read the secret of its OIDC client: an admin checks oidc_client_secret_file, or"
                " restarts the server, which says why",
                reason="OIDC_CLIENT",
            ) from None
        methods = endpoints.get("token_endpoint_auth_methods_supported")
        form, headers = {"client_id": self.rules.client_id, **form}, {}
        if secret and isinstance(methods, list) and "client_secret_post" in methods:
            form["client_secret"] = secret
        elif secret:
            both = f"{quote_plus(self.rules.client_id)}:{quote_plus(secret)}"  # RFC 6749, section 2.3.1
            headers["Authorization"] = f"Basic {base64.b64encode(both.encode()).decode()}"
        return await self._answer("POST", endpoints[endpoint], form, headers)

    async def _endpoints(self) -> dict[str, Any]:
        """What the issuer says of itself; endpoints are URLs that may be asked."""
        known, at = self._discovered
        now = asyncio.get_running_loop().time()
        if known and now - at < _DISCOVERED_SECONDS:
            return known
        issuer = self.rules.issuer
        found = await self._answer("GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer:
            raise WrongState(
                f"{issuer} calls itself {shown(str(found.get('issuer')))}: an admin sets oidc_issuer to exactly that,"
                " or to another URL",
                reason="OIDC_ISSUER",
            )
        for name in {_TOKEN, _KEYS} | ({_DEVICE} & found.keys()):
            if not self._may_be_asked(found.get(name)):
                raise WrongState(
                    f"the OIDC issuer {issuer} has no https URL as its {name}: report it to who runs the issuer",
                    reason="OIDC_ISSUER",
                )
        self._discovered = found, now
        return found

    async def _answer(
        self, method: str, url: str, form: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """The JSON object at a URL, of bounded size; also one with which the issuer refuses (RFC 6749, section 5.2)."""
        content = bytearray()
        async with self._http.request(method, url, data=form, headers=headers, allow_redirects=False) as response:
            async for piece in response.content.iter_chunked(16 << 10):
                content += piece
                if len(content) > MAX_ANSWER:
                    raise self._unusable(f"sends more than {MAX_ANSWER >> 10} KiB")
        if response.status >= _SERVER_ERROR:
            raise self._unusable(f"fails with status {response.status}")
        try:
            found = json.loads(content)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or (not response.ok and "error" not in found):
            raise self._unusable(f"gives no answer of OIDC at {shown(url)} (status {response.status})")
        return found

    def _may_be_asked(self, url: object) -> bool:
        """Whether codes and secrets may be sent to a URL: not in the open, unless this machine is the issuer."""
        if not isinstance(url, str):
            return False
        parts = urlsplit(url)
        return parts.scheme == "https" or (parts.scheme == "http" and bool(_LOOPBACK.fullmatch(parts.hostname or "")))

    def _shown_url(self, url: object) -> str:
        """A URL that a person opens."""
        text = url if isinstance(url, str) and len(url) <= _TEXT_MAX and url.isprintable() else ""
        if text.startswith(("https://", "http://")):
            return text
        raise self._unusable("gives no URL at which to log in")

    def _text(self, answer: dict[str, Any], name: str, limit: int) -> str:
        text = answer.get(name)
        if not isinstance(text, str) or not text or len(text) > limit or not text.isprintable():
            raise self._unusable(f"gives no usable {name}")
        return text

    def _client_refused(self, answer: dict[str, Any]) -> NetvpsError:
        said = shown(f"{answer.get('error')} {answer.get('error_description', '')}".strip()[:200])
        return WrongState(
            f"the OIDC issuer {self.rules.issuer} refuses this server as client {self.rules.client_id} ({said}): an"
            " admin checks oidc_client_id, oidc_client_secret_file, and that the client may use the device flow",
            reason="OIDC_CLIENT",
        )

    def _unusable(self, what: str) -> Unavailable:
        return Unavailable(
            f"the OIDC issuer {self.rules.issuer} {what}: try again later, or log in with an API key; an admin checks"
            " oidc_issuer",
            reason="OIDC_ISSUER",
        )

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Maps what the library raises."""
        try:
            yield
        except TimeoutError:
            raise self._unusable(f"did not answer within {self._seconds:g} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise self._unusable(f"has a certificate that this machine does not trust ({error})") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._unusable(f"cannot be reached ({error})") from None


def _number(value: object, otherwise: float, limit: float) -> float:
    """A positive number, of any size in JSON, as one that is at most `limit`."""
    if isinstance(value, int | float) and value > 0:
        return float(min(value, limit))
    return otherwise
