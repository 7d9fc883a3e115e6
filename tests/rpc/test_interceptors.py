"""What netvps.rpc.interceptors does around every call."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

import pytest
import structlog

from netvps.errors import InternalError, NotFound
from tests.rpc.site import default_spec

if TYPE_CHECKING:
    from tests.rpc.site import Site


captured = partial(structlog.testing.capture_logs, processors=[structlog.contextvars.merge_contextvars])


async def test_a_bug_is_told_without_its_insides_and_logged_with_them(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret inside")

    monkeypatch.setattr(site.services.sessions, "get", broken)
    with captured() as logs, pytest.raises(InternalError) as error:
        await site.do(lambda client: client.get_session("dev1"))
    match = re.search(r"under request ([0-9a-f]{12})", str(error.value))
    assert match
    assert "secret" not in str(error.value)
    (entry,) = [entry for entry in logs if entry["log_level"] == "error"]
    assert entry["rpc"] == match[1]
    assert entry["caller"] == "user root"
    assert entry["method"] == "/netvps.api.v1.SessionService/GetSession"
    assert entry["exc_info"]


async def test_a_refusal_is_logged_with_its_reason_and_no_secret(site: Site) -> None:
    endpoint = await site.remote("alice")
    with captured() as logs, pytest.raises(NotFound):
        await site.do(lambda client: client.get_session("dev1"), endpoint)
    (entry,) = [entry for entry in logs if entry["event"] == "call refused"]
    assert (entry["reason"], entry["caller"]) == ("NOT_FOUND", "user alice")
    assert str(endpoint.api_key) not in repr(logs)


async def test_a_stream_that_fails_midway_ends_with_its_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.do(lambda client: client.create_session("dev1", default_spec()))
    events = site.services.watch.sessions

    async def short(*args: object) -> object:
        async for event in events(*args):  # type: ignore[arg-type]
            yield event
            raise NotFound("the parent is gone")

    monkeypatch.setattr(site.services.watch, "sessions", short)

    def work(client: object) -> None:
        stream = client.watch_sessions()  # type: ignore[attr-defined]
        next(stream)
        with pytest.raises(NotFound, match="the parent is gone"):
            next(stream)

    await site.do(work)
