"""The host of logins: a form for an API key, and codes that log a browser in at the host of an app.

Its cookie is good for nothing else, and no app is served at it, so that no app can act as the person.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlsplit

from netvps.errors import Unauthenticated
from netvps.gateway.http.answers import explained, page, redirect
from netvps.gateway.http.cookies import cookie_header, cookie_name, cookie_of

if TYPE_CHECKING:
    from netvps.domain.http.site import Site
    from netvps.gateway.http.answers import Answer
    from netvps.gateway.http.exchange import Exchange
    from netvps.gateway.http.head import RequestHead
    from netvps.gateway.ports import Visitors


class Logins:
    """Answers requests at the host of logins."""

    def __init__(self, plane: Visitors, site: Site) -> None:
        self._plane, self._site = plane, site

    async def answer(self, exchange: Exchange, head: RequestHead) -> Answer:
        """The answer to a request. Raises NetvpsError."""
        match head.method, head.path:
            case "GET" | "HEAD", "/":
                return await self._page(head)
            case "POST", "/login" | "/logout" if head.get(b"origin") != self._site.url(self._site.login_host):
                return explained(head, 403, "not permitted", "another site's page sent this: open this one")
            case "POST", "/login":
                return await self._log_in(head, await exchange.small_body())
            case "POST", "/logout":
                return redirect("/", (cookie_header(self._site, ""),))
        return explained(head, 404, "not found", f"the login is at {self._site.url(self._site.login_host)}/")

    async def _page(self, head: RequestHead) -> Answer:
        """Leads a browser that is logged in to where it wants to; others get the form."""
        given = parse_qs(urlsplit(head.target).query)
        host, path = given.get("host", [""])[0], given.get("path", ["/"])[0]
        cookie = cookie_of(head, cookie_name(self._site))
        try:
            if host:
                return await self._lead(cookie, host, path)
            user = await self._plane.user_of(cookie)
        except Unauthenticated:
            return _form(host, path, "")
        out = "<form method=post action=/logout><button>Log out</button></form>"
        return page(200, "netvps", f"<p>You are logged in as {escape(user)}.</p>{out}", forms="'self'")

    async def _lead(self, cookie: str, host: str, path: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
        code = quote(await self._plane.code(cookie, host), safe="")
        return redirect(f"{self._site.url(host)}/.netvps/enter?code={code}&path={quote(path, safe='')}", headers)

    async def _log_in(self, head: RequestHead, body: bytes) -> Answer:
        given = parse_qs(body.decode("utf-8", "replace"))
        key, host, path = (given.get(name, [""])[0] for name in ("key", "host", "path"))
        try:
            cookie = await self._plane.log_in(key.strip())
        except Unauthenticated as error:
            return _form(host, path, error.message)
        set_cookie = (cookie_header(self._site, cookie),)
        return await self._lead(cookie, host, path, set_cookie) if host else redirect("/", set_cookie)


def _form(host: str, path: str, error: str) -> Answer:
    why = f"<p><strong>{escape(error)}</strong></p>" if error else ""
    hidden = "".join(
        f'<input type=hidden name={name} value="{escape(value, quote=True)}">'
        for name, value in (("host", host), ("path", path))
    )
    where = f"<p>to open {escape(host)}</p>" if host else ""
    body = (
        f"{where}{why}<form method=post action=/login>{hidden}<label>API key"
        "<input name=key type=password autocomplete=current-password autofocus required></label>"
        "<button>Log in</button></form><p>An admin makes one with <code>netvps user api-key</code>. On the machine of"
        " the server, <code>netvps url NAME PORT --open</code> needs none.</p>"
    )
    return page(403 if error else 200, "log in to netvps", body, forms="*")
