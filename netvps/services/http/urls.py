"""Says at which URLs ports of sessions are served, and logs browsers in there."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from netvps.domain.access.sharing import Right
from netvps.domain.http.site import Place, Url
from netvps.domain.names import SessionName
from netvps.services.sessions.scope import permitted_session

if TYPE_CHECKING:
    from netvps.domain.access.accounts import Caller
    from netvps.services.http.visits import Visits
    from netvps.services.ports import Clock, Store


class Urls:
    """URLs of ports, for whoever may log in to their sessions."""

    def __init__(self, store: Store, clock: Clock, visits: Visits) -> None:
        self._store, self._clock = store, clock
        self._visits = visits

    async def get(self, caller: Caller, session: str, port: int) -> Url:
        """The URL of a port of NAME or NAME.OWNER.

        Raises NotFound, NotPermitted, WrongState if the names are too long for a host.
        """
        name = SessionName.parse(session, caller.user)
        async with self._store.read() as reader:
            await permitted_session(reader, caller, name, Right.LOGIN, self._clock())
        site, place = self._visits.site, Place(name, port)
        return Url(place, f"{site.url(site.host_of(place))}/")

    async def log_in(self, caller: Caller, session: str, port: int) -> str:
        """The same URL, with a code that logs a browser in once. Raises as `get`."""
        url, site = await self.get(caller, session, port), self._visits.site
        code = await self._visits.code_for(caller.user, site.host_of(url.place))
        return f"{url.uri}.netvps/enter?code={quote(code, safe='')}&path=/"
