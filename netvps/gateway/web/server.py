"""The HTTP server of the pages: what is served, to whom, and with which headers."""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import TYPE_CHECKING, Any, Final, Self, cast

import structlog
from aiohttp import WSMsgType, web

from netvps.domain.access.admission import Admission, Limits, Outcome
from netvps.errors import Exhausted, InternalError, NetvpsError, Unauthenticated
from netvps.gateway.web import assets
from netvps.gateway.web.door import Door
from netvps.gateway.web.logins import LOGIN_ENDED, LOGIN_SECONDS
from netvps.gateway.web.viewer import MESSAGE_LIMIT, NOT_ADMITTED, WebViewer
from netvps.tasks import Tasks

if TYPE_CHECKING:
    import socket
    import ssl
    from collections.abc import Awaitable, Callable

    from netvps.gateway.tui.apps import TerminalApps
    from netvps.gateway.web.logins import Login, Logins
    from netvps.gateway.web.site import Site

    Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = structlog.get_logger()

COOKIE: Final = "__Host-netvps"
REVIEW_SECONDS: Final = 30.0
"""Interval at which logins are checked again, so that a person whose key was revoked is out within a minute."""
_REQUEST_SECONDS: Final = 15.0
"""For a request to come: the time of a silent connection, too."""
_BODY_LIMIT: Final = 4096
_HEARTBEAT: Final = 30.0
"""Seconds between pings, so that pages that are gone are noticed, and proxies keep the connection."""
_CLOSE_SECONDS: Final = 5.0
_CHECKS: Final = 16
"""Maximum API keys that are checked at the same time."""
_ADMISSION: Final = Limits(served_per_source=4, waiting_per_source=0, handshakes=10.0, early=_CHECKS, full=_CHECKS)
_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self'; font-src 'self';"
    " connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)


class WebServer:
    """Serves the pages on a listening socket. An async context manager; its end closes all pages with a reason."""

    def __init__(
        self,
        site: Site,
        logins: Logins,
        apps: TerminalApps,
        *,
        sock: socket.socket,
        tls: ssl.SSLContext | None = None,
        server_name: str = "",
    ) -> None:
        """`server_name` is what the pages call the server."""
        self._site, self._logins, self._apps = site, logins, apps
        self._sock, self._tls = sock, tls
        self._server_name = server_name
        self._assets = assets.load()
        self._admission = Admission(_ADMISSION)
        self._tasks = Tasks()
        self._viewers: set[WebViewer] = set()
        self._runner = web.AppRunner(
            self._application(),
            access_log=None,
            keepalive_timeout=_REQUEST_SECONDS,
            shutdown_timeout=2.0,
        )
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        assert self._runner.server is not None  # noqa: S101 — it is set up
        door = Door(self._runner.server, self._site.proxies)
        loop = asyncio.get_running_loop()
        handshake = _REQUEST_SECONDS if self._tls else None
        self._server = await loop.create_server(
            door.protocol, sock=self._sock, ssl=self._tls, ssl_handshake_timeout=handshake
        )
        self._tasks.start(self._review(), name="review of web logins")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None  # noqa: S101 — it listens
        self._server.close()
        for viewer in [*self._viewers]:
            viewer.end(1012, "netvps web is restarting")
        await self._tasks.__aexit__()
        await self._runner.cleanup()
        await self._logins.close()

    def link(self) -> str:
        """A URL that logs in once, as whoever started this program. Raises Exhausted.

        The token is in the fragment: browsers send that to no server, and name it in no Referer.
        """
        return f"{self._site.url}#link={self._logins.new_link()}"

    def _application(self) -> web.Application:
        application = web.Application(client_max_size=_BODY_LIMIT, middlewares=[self._guard])
        for base in {"/", self._site.path}:  # a proxy may take the path away, or leave it
            application.router.add_get(base, self._page)
            application.router.add_get(f"{base}session", self._session)
            application.router.add_post(f"{base}login", self._log_in)
            application.router.add_post(f"{base}logout", self._log_out)
            application.router.add_get(f"{base}terminal", self._terminal)
            application.router.add_get(f"{base}healthz", self._alive)
            application.router.add_get(f"{base}static/{{name}}", self._static)
        return application

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Refuses names and origins that are not ours, before anything else; headers for every answer."""
        try:
            response = await self._answer(request, handler)
        except web.HTTPException as error:
            response = _words(error.status, error.reason)
        except NetvpsError as error:
            response = _words(503, error.message)
        except Exception:
            log.exception("a request failed", path=request.path)
            response = _words(500, InternalError("a bug of netvps; its log says more").message)
        if not response.prepared:
            response.headers.update(_HEADERS)
            response.headers.setdefault("Content-Security-Policy", _POLICY.format(nonce=secrets.token_urlsafe(16)))
            response.headers.setdefault("Cache-Control", "no-store")
            if self._site.url.startswith("https:"):
                response.headers["Strict-Transport-Security"] = "max-age=31536000"
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if len(request.headers.getall("Host", [])) != 1 or not self._site.knows_host(request.headers["Host"]):
            return _words(421, f"this server is {self._site.url}: open that address, or set --public-url")
        origins = request.headers.getall("Origin", [])
        changes = request.method == "POST" or "Upgrade" in request.headers
        if (changes or origins) and not (len(origins) == 1 and self._site.knows_origin(origins[0])):
            log.info("web request refused", address=self._source(request), reason="another site's page sent it")
            return _words(403, f"only pages of {self._site.url} may ask for this: open that address")
        return await handler(request)

    # Pages

    async def _page(self, _request: web.Request) -> web.Response:
        nonce = secrets.token_urlsafe(16)
        page = self._assets["index.html"]
        return web.Response(
            body=page.content.replace(assets.NONCE, nonce.encode()),
            headers={"Content-Type": page.content_type, "Content-Security-Policy": _POLICY.format(nonce=nonce)},
        )

    async def _static(self, request: web.Request) -> web.Response:
        asset = self._assets.get(request.match_info["name"])
        if asset is None or request.match_info["name"] == "index.html":
            raise web.HTTPNotFound
        headers = {"ETag": asset.tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
        if request.headers.get("If-None-Match") == asset.tag:
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = asset.content_type
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            headers["Content-Encoding"] = "gzip"
            return web.Response(body=asset.compressed, headers=headers)
        return web.Response(body=asset.content, headers=headers)

    async def _alive(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    # Logins

    async def _session(self, request: web.Request) -> web.Response:
        login = self._login_of(request)
        user = login.account.user if login else None
        return web.json_response({"user": user, "server": self._server_name if login else ""})

    async def _log_in(self, request: web.Request) -> web.Response:
        address = self._source(request)
        now = asyncio.get_running_loop().time()
        decision = self._admission.arrive(address, now, secrets.randbelow(1 << 20) / (1 << 20))
        if (ticket := decision.ticket) is None:
            return _words(429, f"{decision.reason or 'too many logins at the same time'}: try again later")
        outcome = Outcome.FAILED
        try:
            cookie, login = await self._enter(await _body(request))
            outcome = Outcome.LOGGED_IN
        except Unauthenticated as error:
            log.info("web login refused", address=address, reason=error.message)
            return _words(403, error.message)
        except Exhausted as error:
            outcome = Outcome.LOGGED_IN
            return _words(429, error.message)
        except NetvpsError:
            outcome = Outcome.LOGGED_IN  # the server is away, which is not the person's fault
            raise
        finally:
            self._admission.leave(ticket, outcome, asyncio.get_running_loop().time())
        log.info("web login", address=address, user=login.account.user)
        if old := request.cookies.get(COOKIE):
            await self._logins.end(old)
        response = web.json_response({"user": login.account.user, "server": self._server_name})
        response.set_cookie(
            COOKIE, cookie, max_age=int(LOGIN_SECONDS), path="/", secure=True, httponly=True, samesite="Strict"
        )
        return response

    async def _enter(self, given: dict[str, Any]) -> tuple[str, Login]:
        match given:
            case {"key": str(key), **rest} if not rest:
                return await self._logins.with_key(key.strip())
            case {"link": str(token), **rest} if not rest:
                return await self._logins.with_link(token)
            case _:
                raise web.HTTPBadRequest(reason="give either key or link")

    async def _log_out(self, request: web.Request) -> web.Response:
        if cookie := request.cookies.get(COOKIE):
            await self._logins.end(cookie)
        response = web.json_response({})
        response.del_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
        return response

    # Terminals

    async def _terminal(self, request: web.Request) -> web.StreamResponse:
        page = web.WebSocketResponse(
            heartbeat=_HEARTBEAT, max_msg_size=MESSAGE_LIMIT, compress=False, timeout=_CLOSE_SECONDS
        )
        if not page.can_prepare(request).ok:
            raise web.HTTPBadRequest(reason="this address is for WebSockets")
        await page.prepare(request)
        login = self._login_of(request)
        if login is None:
            await page.close(code=LOGIN_ENDED, message=b"log in first")
            return page
        viewer = WebViewer(_Socket(page, request.transport), login, self._apps)
        if reason := self._logins.admit(login, viewer):
            await page.close(code=NOT_ADMITTED, message=reason.encode())
            return page
        self._viewers.add(viewer)
        try:
            await viewer.run()
        finally:
            self._viewers.discard(viewer)
            login.viewers.discard(viewer)
        return page

    def _login_of(self, request: web.Request) -> Login | None:
        cookie = request.cookies.get(COOKIE)
        return self._logins.find(cookie) if cookie else None

    def _source(self, request: web.Request) -> str:
        return self._site.source(request.remote or "unknown", request.headers.getall("X-Forwarded-For", []))

    async def _review(self) -> None:
        while True:
            await asyncio.sleep(REVIEW_SECONDS)
            try:
                await self._logins.review()
            except Exception:  # the next one is as important
                log.exception("logins were not reviewed")


class _Socket:
    """A WebSocket as a viewer sees it."""

    def __init__(self, socket: web.WebSocketResponse, transport: asyncio.BaseTransport | None) -> None:
        self._socket, self._transport = socket, transport

    async def receive(self) -> str | bytes | None:
        message = await self._socket.receive()
        if message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
            data: str | bytes = message.data
            return data
        return None

    async def send(self, message: str | bytes) -> None:
        if isinstance(message, str):
            await self._socket.send_str(message)
        else:
            await self._socket.send_bytes(message)

    async def close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._socket.close(code=code, message=reason.encode())
        except (OSError, TimeoutError):  # a page that takes nothing takes no farewell either
            if self._transport is not None:
                cast("asyncio.Transport", self._transport).abort()


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object in a request."""
    if request.content_type != "application/json":
        raise web.HTTPUnsupportedMediaType(reason="send application/json")
    try:
        async with asyncio.timeout(_REQUEST_SECONDS):
            found = json.loads(await request.text())
    except (ValueError, LookupError, RecursionError):
        raise web.HTTPBadRequest(reason="the body is no JSON") from None
    except TimeoutError:
        raise web.HTTPRequestTimeout(reason="the body did not come") from None
    if not isinstance(found, dict):
        raise web.HTTPBadRequest(reason="the body is no JSON object")
    return found


def _words(status: int, reason: str) -> web.Response:
    """An error for a person, as JSON: pages show it."""
    return web.json_response({"error": reason}, status=status)
