"""Talks to one repository of a registry, by the OCI distribution protocol.

A login is asked for when the registry wants one, and kept in memory as the header that it makes, for minutes. It is
only sent to the registry itself and to the token server that it names; not along a redirect to another host.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp

from netvps.domain.image.login import Credential
from netvps.errors import DataLoss, Exhausted, NetvpsError, NotFound, NotPermitted, TimedOut, Unavailable, WrongState

PIECE: Final = 256 * 1024
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_CONNECT_SECONDS, _SILENCE_SECONDS = 15.0, 60.0
_MAX_DOCUMENT: Final = 1 << 20
_HEADER_SECONDS: Final = 240.0
"""How long a token is used; servers give five minutes at least."""
_CHALLENGE: Final = re.compile(r'([a-z]+)="([^"]*)"')
_LOOPBACK: Final = re.compile(r"(localhost|127\.\d+\.\d+\.\d+|\[::1\])(:\d+)?")
_ACCEPT: Final = {"Accept": MANIFEST}
_OK, _PARTIAL, _UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 200, 206, 401, 403, 404
_NOT_ALLOWED, _TOO_MANY, _FULL, _SERVER = 405, 429, 507, 500
Logins = Callable[[str], Awaitable[Credential | None]]
"""Returns the login to a host, or None."""


class Repository:
    """One repository. An async context manager."""

    def __init__(self, host: str, name: str, logins: Logins, *, silence: float = _SILENCE_SECONDS) -> None:
        """`host` is HOST[:PORT]; `silence` is how many seconds the registry may send nothing."""
        self.host = host
        self.name = name
        self._logins = logins
        self._base = f"{'http' if _LOOPBACK.fullmatch(host) else 'https'}://{host}"
        self._timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=silence)
        self._header: tuple[str, float] = "", 0.0
        """The header with the login, and until when it is used (loop time)."""

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(timeout=self._timeout, headers={"Accept-Encoding": "identity"})
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.close()

    async def manifest(self, tag: str) -> tuple[dict[str, Any], str] | None:
        """The manifest with a tag, and its digest; None if there is none. Raises DataLoss if it is damaged."""
        try:
            content = await self._document(f"manifests/{tag}")
        except NotFound:
            return None
        return parsed(content, f"the manifest {tag}"), digest_of(content)

    async def put_manifest(self, tag: str, manifest: Mapping[str, Any]) -> None:
        """Stores a manifest under a tag; the registry has it when this returns."""
        content = json.dumps(manifest, sort_keys=True).encode()
        headers = {"Content-Type": MANIFEST}
        async with self._asked("PUT", f"manifests/{tag}", data=content, headers=headers) as response:
            said = response.headers.get("Docker-Content-Digest", "")
        if said and said != digest_of(content):
            raise DataLoss(f"registry {self.host} stored another manifest {tag} than was sent: check the registry")

    async def delete_manifest(self, digest: str) -> None:
        """Removes a manifest; idempotent."""
        try:
            async with self._asked("DELETE", f"manifests/{digest}"):
                pass
        except NotFound:
            pass

    async def has_blob(self, digest: str, size: int) -> bool:
        """Whether the registry has a blob of this size."""
        try:
            async with self._asked("HEAD", f"blobs/{digest}") as response:
                return response.headers.get("Content-Length", str(size)) == str(size)
        except NotFound:
            return False

    async def blob(self, digest: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Yields a blob from an offset on. It is not checked. Raises NotFound."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self._asked("GET", f"blobs/{digest}", headers=headers) as response:
            skip = offset if response.status == _OK else 0
            async for piece in response.content.iter_chunked(PIECE):
                if len(piece) > skip:
                    yield piece[skip:]
                skip = max(skip - len(piece), 0)

    async def small_blob(self, digest: str) -> bytes:
        """A blob of at most a MiB. Raises NotFound, and DataLoss if it is damaged."""
        content = await self._document(f"blobs/{digest}")
        if digest_of(content) != digest:
            raise DataLoss(f"blob {digest} of registry {self.host} is damaged: its checksum does not match")
        return content

    async def put_blob(self, content: bytes) -> str:
        """Stores a small blob; returns its digest."""
        digest = digest_of(content)
        if not await self.has_blob(digest, len(content)):
            upload = await self.begin_upload()
            await self.end_upload(await self.append(upload, content, 0), digest)
        return digest

    async def begin_upload(self) -> str:
        """Begins an upload; returns its address."""
        async with self._asked("POST", "blobs/uploads/") as response:
            return self._location(response)

    async def append(self, upload: str, content: bytes, offset: int) -> str:
        """Adds content at an offset; returns the address for what follows. Raises NotFound if the upload expired."""
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{offset}-{offset + len(content) - 1}",
        }
        async with self._asked("PATCH", upload, data=content, headers=headers) as response:
            return self._location(response)

    async def end_upload(self, upload: str, digest: str) -> None:
        """Ends an upload: the registry keeps it if it has this digest. Raises DataLoss if not."""
        address = f"{upload}{'&' if '?' in upload else '?'}digest={digest}"
        try:
            async with self._asked("PUT", address, data=b""):
                pass
        except WrongState as error:
            if "DIGEST_INVALID" in error.reason:
                raise DataLoss(f"registry {self.host} got other bytes than were sent: {error.message}") from None
            raise

    async def _document(self, path: str) -> bytes:
        async with self._asked("GET", path, headers=_ACCEPT) as response:
            content = bytearray()
            async for piece in response.content.iter_chunked(PIECE):
                content += piece
                if len(content) > _MAX_DOCUMENT:
                    raise DataLoss(f"{path} of registry {self.host} is too large to be netvps's")
            return bytes(content)

    @asynccontextmanager
    async def _asked(
        self, method: str, address: str, *, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Asks, with the login if the registry wants one; raises what the answer means."""
        url = address if "://" in address else f"{self._base}/v2/{self.name}/{address}"
        with self._failures():
            response = await self._once(method, url, data, headers)
            if response.status == _UNAUTHORIZED and (fresh := await self._log_in(response)):
                response.release()
                self._header = fresh, asyncio.get_running_loop().time() + _HEADER_SECONDS
                response = await self._once(method, url, data, headers)
            async with response:
                if response.status >= 400:  # noqa: PLR2004 — where errors begin
                    raise await self._refusal(response, address)
                yield response

    async def _once(
        self, method: str, url: str, data: bytes | None, headers: Mapping[str, str] | None
    ) -> aiohttp.ClientResponse:  # fmt: skip
        header, until = self._header
        login = {"Authorization": header} if header and asyncio.get_running_loop().time() < until else {}
        body = io.BytesIO(data) if data else data  # the library sends large bytes in one go, and warns of that
        return await self._http.request(method, url, data=body, headers={**(headers or {}), **login})

    async def _log_in(self, response: aiohttp.ClientResponse) -> str:
        """The header with the login that a registry asks for; '' if there is none."""
        kind, _, rest = response.headers.get("WWW-Authenticate", "").partition(" ")
        asked = dict(_CHALLENGE.findall(rest))
        login = await self._logins(self.host)
        if kind.lower() == "basic":
            return _basic(login) if login else ""
        realm = asked.get("realm", "")
        secure = realm.startswith("https://") or urlsplit(realm)[:2] == urlsplit(self._base)[:2]
        if kind.lower() != "bearer" or not secure:
            return ""
        wanted = {key: asked[key] for key in ("service", "scope") if key in asked}
        headers = {"Authorization": _basic(login)} if login else {}
        async with self._http.get(realm, params=wanted, headers=headers, allow_redirects=False) as answer:
            if answer.status != _OK:
                return ""
            said = parsed(await answer.content.read(_MAX_DOCUMENT), "the token")
        token = str(said.get("token") or said.get("access_token") or "")
        return f"Bearer {token}" if token.isprintable() and token else ""

    def _location(self, response: aiohttp.ClientResponse) -> str:
        """The address that an answer names, which has to be at the registry: the login is sent there."""
        said = response.headers.get("Location", "")
        address = said if "://" in said else f"{self._base}{said}"
        if urlsplit(address)[:2] != urlsplit(self._base)[:2]:
            raise WrongState(f"registry {self.host} takes uploads at another address ({urlsplit(address).netloc})")
        return address

    async def _refusal(self, response: aiohttp.ClientResponse, address: str) -> NetvpsError:
        about, status = f"registry {self.host}", response.status
        try:
            errors = parsed(await response.content.read(PIECE), "the answer").get("errors") or [{}]
            code, said = str(errors[0].get("code", "")), str(errors[0].get("message", ""))[:200]
        except (NetvpsError, AttributeError, TypeError, LookupError):
            code, said = "", ""
        words = f"{status} {code} {said}".strip()
        if status in {_UNAUTHORIZED, _FORBIDDEN}:
            return NotPermitted(
                f"{about} refuses {self.name}: it wants a login, or refuses the one that it gets; an admin stores it"
                f" with netvps registry login HOST ({words})"
            )
        if status == _NOT_FOUND:
            return NotFound(f"{about} has no {self.name}/{address.rpartition('/v2/')[2]} ({words})")
        if status == _NOT_ALLOWED:
            return WrongState(
                f"{about} does not allow this ({words}): it has to let snapshots be deleted (storage.delete.enabled)"
            )
        if status == _FULL:
            return Exhausted(f"{about} has no room ({words}): free space there")
        if status == _TOO_MANY or status >= _SERVER:
            return Unavailable(f"{about} fails ({words}); copies on other runners are used")
        return WrongState(f"{about} refuses this ({words})", reason=code or "REGISTRY")

    def _failures(self) -> _Failures:
        return _Failures(self.host, self._timeout.sock_read or 0.0)


class _Failures:
    """Maps what the library raises."""

    def __init__(self, host: str, silence: float) -> None:
        self._about = f"registry {host}"
        self._silence = silence

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, TimeoutError | aiohttp.ServerTimeoutError):
            raise TimedOut(f"{self._about} sent nothing for {self._silence:.0f} s; it is tried again") from None
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
            raise Unavailable(f"{self._about} has a certificate that this machine does not trust: {error}") from None
        if isinstance(error, aiohttp.ClientError | OSError):
            raise Unavailable(f"{self._about} cannot be reached ({error}); copies on other runners are used") from None


def _basic(login: Credential) -> str:
    return f"Basic {base64.b64encode(f'{login.username}:{login.password}'.encode()).decode()}"


def digest_of(content: bytes) -> str:
    """Its digest, as registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def parsed(content: bytes, what: str) -> dict[str, Any]:
    """A JSON object. Raises DataLoss."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise DataLoss(f"{what} in the registry is damaged: it is no JSON object")
    return found
