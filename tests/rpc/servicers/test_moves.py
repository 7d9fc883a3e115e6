"""MoveService over a real connection; so the test of netvps.rpc.convert.session.moves, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.domain.session.session import SessionState
from netvps.errors import Exhausted, InvalidInput, NotFound, WrongState
from tests.rpc.servicers.test_link import process
from tests.rpc.site import ROOT, default_spec

if TYPE_CHECKING:
    from netvps.rpc.client.client import Client
    from tests.rpc.site import Site


async def test_moves_are_requested_listed_and_refused(site: Site) -> None:
    machine = await site.join("lab1")
    async with process(site, machine) as runner:
        await runner.caught_up()
        session = await site.services.sessions.create(ROOT, session_id="dev1", owner="", spec=default_spec())
        assert session.state is SessionState.PENDING

        def ask(client: Client) -> None:
            with pytest.raises(Exhausted, match="there is no other runner"):
                client.move_session("dev1")
            with pytest.raises(WrongState, match="is on runner lab1 already"):
                client.move_session("dev1", "lab1")
            with pytest.raises(NotFound, match="no runner lab9"):
                client.move_session("dev1", "lab9")
            with pytest.raises(InvalidInput, match="target"):
                client.move_session("dev1", "-")
            (move,) = client.drain_runner("lab1")
            assert (move.session, move.stage, move.origin, move.target) == ("dev1.root", "WAITING", "lab1", "")
            assert client.list_moves("dev1") == client.list_moves(runner="lab1") == [move]
            assert client.get_runner("lab1").runner.cordoned
            assert client.get_session("dev1").message.startswith("waiting to be moved to another runner")
            client.uncordon_runner("lab1")
            client.cordon_runner("lab1")
            assert client.get_runner("lab1").runner.cordoned
            client.uncordon_runner("lab1")
            assert client.list_moves("dev1")[0].stage == "FAILED"
            assert not client.get_runner("lab1").runner.cordoned

        await site.do(ask)
