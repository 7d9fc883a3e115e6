"""ShareService over real connections; so netvps.rpc.convert.shares and netvps.rpc.client.calls.shares, too."""

from __future__ import annotations

import threading
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from netvps.domain.access.audit import AuditQuery
from netvps.domain.access.sharing import ShareRole
from netvps.domain.session.exec import ExecStart, StdinEof
from netvps.errors import InvalidInput, NotFound, NotPermitted
from netvps.rpc.client.client import Client
from tests.rpc.site import default_spec, now, soon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from netvps.domain.session.exec import ToCommand
    from tests.rpc.site import Site


async def test_a_session_is_shared_changed_listed_and_taken_back(site: Site) -> None:
    alice, bob = await site.remote("alice"), await site.remote("bob")
    await site.do(lambda client: client.create_session("dev1", default_spec()), alice)
    end = now() + timedelta(hours=2)
    made = await site.do(lambda client: client.share_session("dev1", "bob", ShareRole.VIEW, end), alice)
    assert (str(made.session), made.share.user, made.share.role) == ("dev1.alice", "bob", ShareRole.VIEW)
    assert made.share.expire_time is not None
    assert abs(made.share.expire_time - end) < timedelta(milliseconds=1)
    changed = await site.do(lambda client: client.share_session("dev1", "bob", ShareRole.USE), alice)
    assert (changed.share.role, changed.share.expire_time) == (ShareRole.USE, None)
    assert await site.do(lambda client: list(client.list_shares("dev1")), alice) == [changed]
    assert await site.do(lambda client: list(client.list_shares()), bob) == [changed]
    assert [one.name for one in await site.do(lambda client: list(client.list_sessions("-")), bob)] == ["dev1"]
    with pytest.raises(NotPermitted):
        await site.do(lambda client: client.delete_session("dev1.alice"), bob)
    await site.do(lambda client: client.unshare_session("dev1.alice", "me"), bob)
    with pytest.raises(NotFound):
        await site.do(lambda client: client.get_session("dev1.alice"), bob)


async def test_bad_requests_name_the_field(site: Site) -> None:
    alice = await site.remote("alice")
    await site.do(lambda client: client.create_session("dev1", default_spec()), alice)
    with pytest.raises(InvalidInput, match=r"share\.name"):
        await site.do(lambda client: client.share_session("dev1", "No One", ShareRole.VIEW), alice)
    with pytest.raises(InvalidInput, match="owns the session"):
        await site.do(lambda client: client.share_session("dev1", "alice", ShareRole.VIEW), alice)


async def test_shares_are_audited(site: Site) -> None:
    alice, bob = await site.remote("alice"), await site.remote("bob")
    await site.do(lambda client: client.create_session("dev1", default_spec()), alice)
    await site.do(lambda client: client.share_session("dev1", "bob", ShareRole.USE), alice)
    with pytest.raises(NotPermitted):
        await site.do(lambda client: client.stop_session("dev1.alice"), bob)
    await site.do(lambda client: client.unshare_session("dev1", "bob"), alice)
    found = await site.do(lambda client: list(client.list_audit_records(AuditQuery(100))))
    events = {
        (record.event.actor, record.event.action, record.event.target, record.event.outcome)
        for record in found
        if "Share" in record.event.action or record.event.outcome == "NOT_PERMITTED"
    }
    assert events == {
        ("alice", "ShareService/UpdateShare", "sessions/dev1.alice/shares/bob", "OK"),
        ("bob", "SessionService/StopSession", "sessions/dev1.alice", "NOT_PERMITTED"),
        ("alice", "ShareService/DeleteShare", "sessions/dev1.alice/shares/bob", "OK"),
    }
    (shared,) = [each.event for each in found if each.event.action == "ShareService/UpdateShare"]
    assert ("role", "use") in shared.details


@pytest.mark.parametrize("ending", ["unshare", "role"])
async def test_a_command_by_a_share_ends_with_it(site: Site, ending: str) -> None:
    alice, bob = await site.remote("alice"), await site.remote("bob")
    await site.running("dev1")
    await site.do(lambda client: client.share_session("dev1", "bob", ShareRole.VIEW), alice)
    start = ExecStart("dev1.alice", ("cat",))
    with pytest.raises(NotPermitted, match="with role view, not to log in"):
        await site.do(lambda client: list(client.exec(start, iter(()))), bob)
    await site.do(lambda client: client.share_session("dev1", "bob", ShareRole.USE), alice)

    def waiting() -> Iterator[ToCommand]:
        over.wait(30)
        yield StdinEof()

    def work(client: Client) -> float:
        output = client.exec(start, waiting())
        next(output)
        with Client(alice) as owner:
            if ending == "unshare":
                owner.unshare_session("dev1", "bob")
            else:
                owner.share_session("dev1", "bob", ShareRole.VIEW)
        ended = time.monotonic()
        try:
            with pytest.raises(NotPermitted, match="the share of this session with you ended: ask alice"):
                list(output)
            return time.monotonic() - ended
        finally:
            over.set()

    over = threading.Event()
    assert await site.do(work, bob) < 1.0
    await soon(site.commands.ended.is_set)
