"""A fake server whose sessions are at once what they were asked to be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from netvps.domain.http.stored import Audience, NamedUrl, StoredUrl
from netvps.domain.names import SessionName
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.errors import AlreadyExists
from tests.cli.fake_client import FakeClient, session
from tests.cli.fake_urls import NOW


@dataclass
class FakeServices(FakeClient):
    """Of alice."""

    born: SessionState = SessionState.RUNNING
    """The state of new sessions."""
    message: str = ""
    revision: int = 1
    foreign: frozenset[str] = frozenset()
    """Hosts of other users."""

    def create_session(self, session_id: str, spec: SessionSpec, *, validate_only: bool = False, **_: Any) -> Session:
        self._ask("plan_session" if validate_only else "create_session", session_id)
        self.revision += 1
        made = session(session_id, self.born, spec=spec, message=self.message, uid=f"uid-{self.revision}")
        return made if validate_only else self._stored(made)

    def get_session(self, name: str) -> Session:
        found = super().get_session(name)
        return self._stored(found)  # a report of its runner came

    def delete_session(self, name: str, *, expected_revision: int = 0) -> Session:
        self._ask("delete_session", name, expected_revision)
        self.urls = [named for named in self.urls if named.session.name != name]
        return replace(self.sessions.pop(name), state=SessionState.DELETED, desired=DesiredState.DELETED)

    def replace_session(self, name: str, replacement: str, *, expected_revision: int = 0) -> Session:
        self._ask("replace_session", name, replacement, expected_revision)
        del self.sessions[name]
        for index, named in enumerate(self.urls):
            if named.session.name in {name, replacement}:
                self.urls[index] = replace(named, session=SessionName("alice", name))
        return self._stored(replace(self.sessions.pop(replacement), name=name))

    def update_session(
        self, name: str, spec: SessionSpec, fields: Iterable[str], *, expected_revision: int = 0
    ) -> Session:
        self._ask("update_session", name, sorted(fields), expected_revision)
        changed = {field: getattr(spec, field) for field in fields}
        return self._stored(replace(self.sessions[name], spec=replace(self.sessions[name].spec, **changed)))

    def _want(self, method: str, name: str, desired: DesiredState) -> Session:
        self._ask(method, name)
        known = self.sessions[name.removesuffix(".alice")]
        return self._stored(replace(known, desired=desired, state=SessionState(desired)))

    def list_urls(self, session: str = "") -> Iterator[NamedUrl]:
        return (named for named in self.urls if session in {"", named.session.name})

    def put_url(self, session: str, port: int, audience: Audience, **given: Any) -> NamedUrl:
        self._ask("put_url", session, port, audience, given)
        if given["host"] in self.foreign:
            raise AlreadyExists(f"another session is served at {given['host']}")
        url = StoredUrl("", "alice", port, audience, NOW, given["host"], tuple(given["users"]))
        made = NamedUrl(url, SessionName("alice", session), f"http://{url.id}/")
        self.urls = [named for named in self.urls if named.url.id != url.id or named.session.name != session] + [made]
        return made

    def delete_url(self, session: str, url: str) -> NamedUrl:
        self._ask("delete_url", session, url)
        (gone,) = [named for named in self.urls if (named.session.name, named.url.id) == (session, url)]
        self.urls.remove(gone)
        return gone

    def _stored(self, made: Session) -> Session:
        self.revision += 1
        self.sessions[made.name] = replace(made, revision=self.revision)
        return self.sessions[made.name]

    def called(self, *methods: str) -> list[tuple[Any, ...]]:
        """What was asked of these methods."""
        return [call for call in self.asked if call[0] in methods]
