"""Decides about requests: who sends it, which session it is for, whether that has to be woken; then connects."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from functools import partial
from html import escape
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, quote, urlsplit

import structlog

from netvps.domain.http.site import LOCAL
from netvps.domain.sleep.waking import LoginEffect, LoginKind, starts
from netvps.domain.tunnel import NOTHING_LISTENS
from netvps.errors import Exhausted, NetvpsError, NotFound, NotPermitted, Unauthenticated, Unavailable, WrongState
from netvps.gateway.http.answers import explained, is_navigation, page, redirect
from netvps.gateway.http.challenges import PATH as ACME_PATH
from netvps.gateway.http.cookies import cookie_header, cookie_name, cookie_of, without_cookie
from netvps.gateway.http.head import request_bytes
from netvps.gateway.http.kept import KeptConnections, Use
from netvps.gateway.http.logins import Logins
from netvps.gateway.http.reviews import Reviews
from netvps.gateway.ssh.readiness import shown_name
from netvps.gateway.wake.wakes import Wakes
from netvps.services.access.logins import Grant
from netvps.services.http.visits import LINK_ENDED

if TYPE_CHECKING:
    from collections.abc import Collection

    from netvps.domain.http.site import Site
    from netvps.gateway.http.answers import Answer
    from netvps.gateway.http.challenges import Challenges
    from netvps.gateway.http.exchange import Exchange
    from netvps.gateway.http.head import RequestHead
    from netvps.gateway.http.reviews import Admission
    from netvps.gateway.ports import PortDialer, Stream, Visitors
    from netvps.services.http.visits import AdmittedRequest
    from netvps.tasks import Tasks

log = structlog.get_logger()

CREDENTIAL: Final = b"netvps-authorization"
ANYONE: Final = "public"
"""Who wakes a session by a URL that is public."""
_UNREACHABLE: Final = "the app does not run now, or cannot be reached: try again later"
"""What guests learn of it."""
OWN_PATH: Final = "/.netvps/"
"""Below which no app of a session is reached."""
ASK_PATH: Final = f"{OWN_PATH}ask"
"""Where a proxy on this machine asks whether it may get a certificate for a host."""
HOLD_SECONDS: Final = 60.0
"""For a session to wake, and its app to listen, while a request of a program waits."""
_GRACE: Final = 1.0
"""For the same while a person's waits without a page that says so: a resumed session needs less."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0
_FORWARDED: Final = frozenset(
    {b"forwarded", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-prefix", b"x-real-ip"}
)
_PROBES: Final = ("kube-probe", "googlehc", "elb-healthchecker", "uptimerobot", "blackbox", "pingdom", "statuscake")
_STATUS: Final[dict[type[NetvpsError], tuple[int, str]]] = {
    NotFound: (404, "not found"),
    NotPermitted: (403, "not permitted"),
    WrongState: (503, "the session does not run"),
    Exhausted: (503, "too many connections"),
    Unavailable: (503, "not available"),
}


class Requests:
    """Serves complete heads."""

    def __init__(
        self,
        plane: Visitors,
        dialer: PortDialer,
        site: Site,
        tasks: Tasks,
        exchanges: Collection[Exchange],
        *,
        proxies: Collection[str] = (),
        challenges: Challenges | None = None,
    ) -> None:
        """`exchanges` are all that are open; `proxies` are IP addresses whose X-Forwarded headers are passed on.

        Without `challenges`, apps answer those of certificate authorities themselves.
        """
        self._plane, self._dialer, self._site = plane, dialer, site
        self._tasks = tasks
        self._proxies, self._challenges = proxies, challenges
        self._wakes = Wakes(plane, tasks)
        self._waking: dict[str, asyncio.Task[None]] = {}
        self._progress: dict[str, str] = {}
        """What a session that is being woken is about, by its uid."""
        self._woken: dict[str, float] = {}
        """When a session was woken, by its uid: its app may need a moment."""
        self._logins = Logins(plane, site)
        self._connections = KeptConnections()
        self._reviews = Reviews(plane, tasks, exchanges, self._connections)

    def stop(self) -> None:
        """Ends connections that wait for a request."""
        self._connections.close(lambda _request: True)

    async def serve(self, exchange: Exchange, head: RequestHead) -> str:
        """Answers a request, or connects it to an app; returns the user, '' if it is not known."""
        user = ""
        try:
            if self._challenges and head.path.startswith(ACME_PATH):
                exchange.answer(await asyncio.to_thread(self._challenges.answer, head))
                return user
            if head.path == ASK_PATH and is_from_this_machine(head, exchange.peer):
                exchange.answer(await self._asked(head))
                return user
            if head.host == self._site.login_host:
                exchange.answer(await self._logins.answer(exchange, head))
                return user
            if head.path.startswith(OWN_PATH):
                exchange.answer(await self._own_page(head))
                return user
            exchange.admission = await self._admit(head)
            admitted = exchange.admission.request
            user = admitted.user
            use = Use(exchange.admission, counted=not _is_probe(head))
            kept = self._connections.take(use) if head.is_repeatable and not exchange.repeats else None
            keep = partial(self._keep, use) if head.is_repeatable else None
            stream = kept or await self._reach(head, admitted, exchange.peer)
            exchange.connect(stream, self._rewritten(head, exchange), keep, repeatable=kept is not None)
        except _Instead as instead:
            exchange.answer(instead.answer)
        except Unauthenticated as error:
            exchange.answer(self._log_in(head, error))
        except NetvpsError as error:
            status, title = _STATUS.get(type(error), (500, "failed"))
            guest = exchange.admission is not None and exchange.admission.request.is_guest
            exchange.answer(explained(head, status, title, _UNREACHABLE if guest else error.message))
        except OSError:
            exchange.answer(explained(head, 502, "no answer", "the connection to the session broke: try again"))
        return user

    def _keep(self, use: Use, transport: asyncio.Transport) -> None:
        if self._reviews.counts(use.admission):
            self._connections.put(use, transport)
        else:
            transport.close()

    # Who

    async def _admit(self, head: RequestHead) -> Admission:
        scheme, _, key = head.get(CREDENTIAL).partition(" ")
        api_key = key.strip() if scheme.lower() == "bearer" else ""
        if not api_key and not self._is_from_same_owner(head):
            with suppress(Unauthenticated):  # what is public is asked for without the cookie
                return await self._reviews.admit(head.host, "", "")
            text = "a page of another owner's session sent this request, and yours was not asked: open the URL itself"
            raise _Instead(explained(head, 403, "not permitted", text))
        cookie = "" if api_key else cookie_of(head, cookie_name(self._site))
        return await self._reviews.admit(head.host, cookie, api_key)

    def _is_from_same_owner(self, head: RequestHead) -> bool:
        """Whether no page of another owner sent it: hosts of one domain are one site, so browsers add the cookie."""
        where = head.get(b"sec-fetch-site")
        opened = head.get(b"sec-fetch-mode") == "navigate" and head.get(b"sec-fetch-dest") == "document"
        if where in {"same-origin", "none"} or (opened and head.method in {"GET", "HEAD"}):
            return True
        origin = head.get(b"origin") or ("" if not where else head.get(b"referer"))
        if not origin:
            return not where  # neither a browser's page, nor a browser that hides where it comes from
        try:
            sender = (urlsplit(origin).hostname or "").lower()
        except ValueError:
            return False
        here, there = self._site.place_of(head.host), self._site.place_of(sender)
        return sender == head.host or bool(here and there and here.session.owner == there.session.owner)

    def _log_in(self, head: RequestHead, error: Unauthenticated) -> Answer:
        if error.reason == LINK_ENDED:
            return explained(head, 401, "link ended", error.message)
        if error.reason == "LOG_IN" and is_navigation(head):
            query = f"host={quote(head.host, safe='')}&path={quote(head.target, safe='')}"
            return redirect(f"{self._site.url(self._site.login_host)}/?{query}")
        text = (
            f"{error.message}; a program sends Netvps-Authorization: Bearer API-KEY, and a browser opens"
            f" {self._site.url(self._site.login_host)}/"
        )
        return explained(head, 401, "log in", text, (("WWW-Authenticate", 'Bearer realm="netvps"'),))

    async def _own_page(self, head: RequestHead) -> Answer:
        """Exchanges a code or the secret of a link for the cookie of this host, and leads on to where it is for."""
        given = parse_qs(urlsplit(head.target).query)
        code, key, path = (given.get(name, [""])[0] for name in ("code", "key", "path"))
        try:
            match head.method, head.path:
                case "GET", "/.netvps/enter" if code:
                    cookie = await self._plane.enter(head.host, code)
                case "GET", "/.netvps/link" if key:
                    cookie = await self._plane.enter_by_link(head.host, key)
                case _:
                    return explained(head, 404, "not found", f"paths below {OWN_PATH} are netvps's own")
        except Unauthenticated as error:
            if error.reason == LINK_ENDED:
                raise
            return redirect(local_path(path))  # which leads to the login again
        return redirect(local_path(path), (cookie_header(self._site, cookie),))

    async def _asked(self, head: RequestHead) -> Answer:
        """Whether a proxy may get a certificate for a host: 200 if something is served there."""
        host = parse_qs(urlsplit(head.target).query).get("domain", [""])[0].lower()
        if await self._plane.is_served(host):
            return explained(head, 200, "served", host)
        return explained(head, 404, "not found", "nothing is served at that host")

    # Wake, and dial

    async def _reach(self, head: RequestHead, admitted: AdmittedRequest, peer: str) -> Stream:
        """A connection to the app. Raises _Instead with what is answered while there is none, and NetvpsError."""
        began = time.monotonic()
        waits = _GRACE if is_navigation(head) else HOLD_SECONDS
        counted = not _is_probe(head)
        session = admitted.session
        name = head.host if admitted.is_guest else shown_name(session, admitted.user)
        if session.effect is not LoginEffect.NONE:
            await self._wake(head, admitted, name, waits)
        pause, origin = _FIRST_PAUSE, f"{admitted.user}@{peer}"
        while True:
            try:
                return await self._dialer.open_port(session.uid, admitted.port, origin, counted=counted)
            except Unavailable as error:
                if error.reason != NOTHING_LISTENS:
                    raise
                if time.monotonic() - self._woken.get(session.uid, float("-inf")) > HOLD_SECONDS:
                    raise _Instead(self._nothing_listens(head, admitted, name, error)) from None
                if time.monotonic() - began + pause > waits:
                    text = f"it runs; nothing listens on its port {admitted.port} yet"
                    raise _Instead(waiting(head, name, text)) from None
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _wake(self, head: RequestHead, admitted: AdmittedRequest, name: str, waits: float) -> None:
        session = admitted.session
        if session.effect is not LoginEffect.WAIT and not starts(session.effect, LoginKind.PLAIN):
            hint = f"it is {session.state}, and opening its URL does not start it; start it with: netvps start {name}"
            raise WrongState(f"session {name}: {session.message or hint}")
        if session.effect is not LoginEffect.WAIT and _is_probe(head):
            raise WrongState(f"session {name} sleeps, and this request does not wake it")
        task = self._waking.get(session.uid)
        if task is None:
            grant = Grant(session, "", admitted.user or ANYONE)
            task = self._tasks.start(self._until_awake(grant), name=f"wake {session.uid}")
            self._waking[session.uid] = task
            self._progress[session.uid] = f"it is {session.state.lower()}"
        await asyncio.wait({task}, timeout=waits)
        if not task.done():
            raise _Instead(waiting(head, name, self._progress.get(session.uid, "")))
        task.result()

    async def _until_awake(self, grant: Grant) -> None:
        uid = grant.session.uid
        try:
            await self._wakes.ready(grant, LoginKind.PLAIN, lambda line: self._progress.update({uid: line}))
            now = time.monotonic()
            self._woken = {each: at for each, at in self._woken.items() if now - at <= HOLD_SECONDS}
            self._woken[uid] = now
        finally:
            del self._waking[uid]
            self._progress.pop(uid, None)

    def _nothing_listens(self, head: RequestHead, admitted: AdmittedRequest, name: str, error: Unavailable) -> Answer:
        text = _UNREACHABLE
        if not admitted.is_guest:
            text = f"nothing listens on port {admitted.port} of session {name}: start your app there ({error.message})"
        return explained(head, 502, "nothing listens", text)

    # The request as the app gets it

    def _rewritten(self, head: RequestHead, exchange: Exchange) -> bytes:
        """Without what is for the gateway, and with what the gateway knows of the client."""
        cookie = without_cookie(head, cookie_name(self._site))
        trusted = exchange.peer in self._proxies
        before = head.get(b"x-forwarded-for") if trusted else ""
        scheme = (head.get(b"x-forwarded-proto") if trusted else "") or exchange.scheme
        added = [
            (b"x-forwarded-for", (f"{before}, {exchange.peer}" if before else exchange.peer).encode("latin-1")),
            (b"x-forwarded-proto", scheme.encode("latin-1")),
            (b"x-forwarded-host", dict(head.headers)[b"host"]),
            *([(b"cookie", cookie)] if cookie else []),
        ]
        return request_bytes(head, added, _FORWARDED | {CREDENTIAL, b"cookie"}, keep=head.is_repeatable)


class _Instead(Exception):
    """An answer in the place of the app's."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


def waiting(head: RequestHead, name: str, progress: str) -> Answer:
    """While a session wakes: a page that asks again, or a line."""
    again = (("Retry-After", "1"),)
    if not is_navigation(head):
        return explained(head, 503, "waking", f"session {name} is not ready yet: {progress}; try again", again)
    body = f"<p>{escape(progress)}</p><p>This page opens the app as soon as it listens.</p>"
    return page(503, f"session {name} wakes", body, again, refresh=1)


def is_from_this_machine(head: RequestHead, peer: str) -> bool:
    """Whether a program of this machine asks for itself, and passes on nothing of another one."""
    try:
        own = ip_address(peer).is_loopback and (head.host == LOCAL or ip_address(head.host.strip("[]")).is_loopback)
    except ValueError:
        return False
    return own and not any(name in _FORWARDED for name, _ in head.headers)


def local_path(path: str) -> str:
    """A path of the same host, whatever was given: one that begins with two slashes would lead elsewhere."""
    safe = path.startswith("/") and path[1:2] not in {"/", "\\"} and path.isascii() and path.isprintable()
    return path if safe else "/"


def _is_probe(head: RequestHead) -> bool:
    """Whether it asks only whether the app is there, or in advance: such a request keeps no session awake."""
    agent = head.get(b"user-agent").lower()
    ahead = "prefetch" in (head.get(b"sec-purpose") or head.get(b"purpose"))
    return head.method == "HEAD" or ahead or any(probe in agent for probe in _PROBES)
