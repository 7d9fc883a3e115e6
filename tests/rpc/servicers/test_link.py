"""Runners over real mTLS: one live stream each (netvps.rpc.server.runners.runner_streams), reports, logs."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from netvps.domain.overlay.netmap import Netmap, NetmapUpdate
from netvps.domain.overlay.peer_health import ProbeReport
from netvps.domain.runner.runner import CaughtUp, Heartbeat, LogRequest, Runner, RunnerState, Underlay, Welcome
from netvps.domain.session.exec import Stderr, Stdout
from netvps.domain.session.session import Assignment, Session, SessionReport, SessionState
from netvps.domain.task.spec import TaskSpec
from netvps.domain.task.task import TaskState
from netvps.errors import AlreadyExists, Exhausted, NetvpsError, NotFound, Unavailable
from netvps.rpc.server.runners.session_logs import MAX_PER_USER
from netvps.rpc.servicers import link as link_servicer
from tests.rpc.site import ALICE, CAPACITY, HEARTBEAT, ROOT, default_spec, hello, soon
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.rpc.client.link_client import RunnerLink
    from tests.rpc.site import Machine, Site


class Process:
    """A runner process: keeps its stream, remembers what it hears."""

    def __init__(self, link: RunnerLink, instance: str) -> None:
        self.link = link
        self.instance = instance
        self.heard: list[object] = []
        self.says: asyncio.Queue[SessionReport | Heartbeat | ProbeReport] = asyncio.Queue()
        self.error: NetvpsError | None = None
        self.ended = asyncio.Event()

    async def run(self) -> None:
        try:
            async with aclosing(self.link.connect(hello(self.instance), self._outgoing())) as messages:  # type: ignore[type-var]
                async for message in messages:
                    self.heard.append(message)
        except NetvpsError as error:
            self.error = error
        finally:
            self.ended.set()

    async def _outgoing(self) -> AsyncIterator[SessionReport | Heartbeat | ProbeReport]:
        while True:
            yield await self.says.get()

    @property
    def netmap(self) -> Netmap:
        """As it was sent, if it is complete."""
        netmap, whole = Netmap(), Netmap()
        for update in self.heard:
            if isinstance(update, NetmapUpdate):
                netmap = netmap.updated(update)
                whole = netmap if update.caught_up else whole
        return whole

    async def caught_up(self) -> None:
        await soon(lambda: any(isinstance(message, CaughtUp) for message in self.heard))


@asynccontextmanager
async def process(site: Site, machine: Machine, instance: str = "one") -> AsyncIterator[Process]:
    async with site.link(machine) as link, asyncio.TaskGroup() as group:
        made = Process(link, instance)
        task = group.create_task(made.run())
        yield made
        task.cancel()


async def state_of(site: Site, machine: Machine) -> RunnerState:
    async with site.store.read() as reader:
        runner = await reader.get(Runner, machine.uid)
    assert runner is not None
    return runner.state


async def until(site: Site, machine: Machine, state: RunnerState) -> None:
    async def reached() -> bool:
        return await state_of(site, machine) is state

    await soon(reached)


async def test_a_runner_hears_who_it_is_and_what_to_do_and_reports(site: Site) -> None:
    machine = await site.join()
    session = await site.services.sessions.create(ALICE, session_id="dev1", owner="", spec=default_spec())
    async with process(site, machine) as runner:
        await runner.caught_up()
        welcome, assignment, *_ = [m for m in runner.heard if not isinstance(m, NetmapUpdate)]
        assert isinstance(welcome, Welcome)
        assert (welcome.runner, welcome.heartbeat_interval) == ("lab1", HEARTBEAT)
        assert isinstance(assignment, Assignment)
        assert (assignment.session_uid, assignment.spec) == (session.uid, session.spec)
        await runner.says.put(Heartbeat(CAPACITY))
        await runner.says.put(
            SessionReport(session.uid, assignment.epoch, 1, SessionState.RUNNING, address="192.0.2.9")
        )

        async def runs() -> bool:
            return (await site.services.sessions.get(ALICE, "dev1")).state is SessionState.RUNNING

        await soon(runs)
        token, ca = await runner.link.boot_token(session.uid, assignment.epoch)
        assert token
        assert ca == site.ca.certificate
        with pytest.raises(NotFound):
            await runner.link.boot_token(session.uid, 99)


async def test_runners_hear_of_each_other_and_of_sessions_in_the_same_bytes(site: Site) -> None:
    machines = [await site.join(name) for name in ("lab1", "lab2")]
    async with process(site, machines[0]) as first, process(site, machines[1]) as second:
        await soon(lambda: first.netmap.generation > 0 and second.netmap.generation > 0)
        for runner, last in ((first, 1), (second, 2)):
            await runner.says.put(Heartbeat(CAPACITY, Underlay((f"192.0.2.{last}",), 1450)))
        await soon(lambda: [len(runner.netmap.peers) for runner in (first, second)] == [2, 2])
        await site.services.sessions.create(ALICE, session_id="dev1", owner="", spec=default_spec())
        await soon(lambda: [len(runner.netmap.endpoints) for runner in (first, second)] == [1, 1])
        assert first.netmap.digest == second.netmap.digest == site.services.netmap.netmap.digest
        (peer,) = [peer for peer in first.netmap.peers.values() if peer.name == "lab2"]
        assert peer.underlay == Underlay(("192.0.2.2",), 1450)


async def test_a_wrong_digest_brings_the_whole_map_and_a_known_generation_what_came_since(site: Site) -> None:
    machine = await site.join()
    async with process(site, machine) as runner:
        await runner.says.put(Heartbeat(CAPACITY, Underlay(("192.0.2.1",), 1450)))
        await soon(lambda: len(runner.netmap.peers) == 1)
        known = runner.netmap
        runner.heard.clear()
        await runner.says.put(Heartbeat(CAPACITY, Underlay(("192.0.2.1",), 1450), known.generation, "wrong"))
        await soon(lambda: runner.netmap == known)
    again = Process(runner.link, "one")
    resumed = replace(hello("one"), underlay=Underlay(("192.0.2.1",), 1450), netmap_generation=known.generation)
    async with site.link(machine) as link, aclosing(link.connect(resumed, again._outgoing())) as messages:  # type: ignore[type-var]
        await site.services.sessions.create(ALICE, session_id="dev1", owner="", spec=default_spec())
        async for message in messages:
            if isinstance(message, NetmapUpdate) and message.generation > known.generation:
                assert (message.reset, len(message.peers), len(message.endpoints)) == (False, 0, 1)
                break


async def test_a_runner_is_offline_when_it_stays_away(site: Site) -> None:
    machine = await site.join()
    async with process(site, machine) as runner:
        await runner.caught_up()
        assert await state_of(site, machine) is RunnerState.ONLINE
    await until(site, machine, RunnerState.OFFLINE)


async def test_a_runner_that_comes_back_soon_was_never_offline(site: Site) -> None:
    machine = await site.join()
    for _ in range(3):
        async with process(site, machine) as runner:
            await runner.caught_up()
    async with process(site, machine) as runner:
        await runner.caught_up()
        for _ in range(5):
            await runner.says.put(Heartbeat(CAPACITY))
            await asyncio.sleep(HEARTBEAT)
        states = [
            c.resource.state for c in site.store.log if isinstance(c.resource, Runner) and c.resource.uid == machine.uid
        ]
        assert RunnerState.OFFLINE not in states[1:]


async def test_a_second_stream_of_the_same_process_replaces_the_first(site: Site) -> None:
    machine = await site.join()
    async with process(site, machine) as first:
        await first.caught_up()
        async with process(site, machine) as second:
            await second.caught_up()
            await first.ended.wait()
            assert first.error is None
            assert not second.ended.is_set()


async def test_another_process_is_refused_while_the_first_is_heard_and_welcome_when_it_is_silent(site: Site) -> None:
    machine = await site.join()
    async with process(site, machine, "one") as first:
        await first.caught_up()
        async with process(site, machine, "two") as second:
            await second.ended.wait()
            assert isinstance(second.error, AlreadyExists)
            assert "is connected from another process" in str(second.error)
        await asyncio.sleep(3 * HEARTBEAT)
        async with process(site, machine, "two") as third:
            await third.caught_up()
            await first.ended.wait()


async def test_a_removed_runner_is_refused(site: Site) -> None:
    machine = await site.join()
    async with site.store.write("test") as tx:
        runner = await tx.get(Runner, machine.uid)
        assert runner is not None
        await tx.delete(runner)
    async with process(site, machine) as gone:
        await gone.ended.wait()
        assert isinstance(gone.error, NotFound)


async def test_the_end_of_the_server_is_announced(site: Site) -> None:
    machine = await site.join()
    async with process(site, machine) as runner:
        await runner.caught_up()
        await site.server.stop(5)
        await runner.ended.wait()
        assert runner.error is None


async def test_a_runner_that_does_not_read_is_dropped(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_servicer, "STALL_TIMEOUT", 0.2)
    machine = await site.join()
    async with site.link(machine) as link:
        # Taken: one message, Welcome; nothing is read after it, and the assignments fill all windows.
        stalled = link.connect(hello(), Process(link, "")._outgoing())
        assert isinstance(await anext(stalled), Welcome)
        for number in range(60):
            spec = default_spec()
            object.__setattr__(spec, "env", {f"A{n}": "x" * 30_000 for n in range(20)})
            await site.services.sessions.create(ROOT, session_id=f"dev{number}", owner="alice", spec=spec)
        await until(site, machine, RunnerState.OFFLINE)
        with pytest.raises(Unavailable):
            async for _ in stalled:
                pass


async def test_logs_come_from_the_runner(site: Site) -> None:
    session, machine = await _running(site)
    async with process(site, machine) as runner:
        await runner.caught_up()
        pieces = asyncio.create_task(_read(site))
        request = await _log_request(runner)
        assert (request.session_uid, request.tail_lines, request.follow, request.since) == (session.uid, 7, True, SINCE)
        await runner.link.send_logs(request.stream_id, _pieces(b"one\n", b"x" * 200_000, b"two\n"))
        assert await pieces == b"one\n" + b"x" * 200_000 + b"two\n"
        with pytest.raises(NotFound, match="no reader waits for these logs"):
            await runner.link.send_logs(request.stream_id, _pieces(b"late"))


async def test_a_runner_says_why_there_are_no_logs(site: Site) -> None:
    _, machine = await _running(site)
    async with process(site, machine) as runner:
        await runner.caught_up()
        pieces = asyncio.create_task(_read(site))
        await runner.link.send_logs((await _log_request(runner)).stream_id, _failing())
        with pytest.raises(NotFound, match="there are no logs to read: the container is gone"):
            await pieces


async def test_another_runner_may_not_deliver(site: Site) -> None:
    _, machine = await _running(site)
    async with process(site, machine) as runner, site.link(await site.join("lab2")) as foreign:
        await runner.caught_up()
        pieces = asyncio.create_task(_read(site))
        request = await _log_request(runner)
        with pytest.raises(NotFound):
            await foreign.send_logs(request.stream_id, _pieces(b"forged"))
        await runner.link.send_logs(request.stream_id, _pieces(b"true"))
        assert await pieces == b"true"


async def test_a_reader_that_goes_away_ends_the_delivery(site: Site) -> None:
    _, machine = await _running(site)
    async with process(site, machine) as runner:
        await runner.caught_up()

        def first(client: object) -> bytes:
            return next(client.read_logs("dev1.alice", follow=True))  # type: ignore[attr-defined,no-any-return]

        piece = asyncio.create_task(site.do(first))
        request = await _log_request(runner)
        async with asyncio.timeout(PATIENCE):
            await runner.link.send_logs(request.stream_id, _endless())
        assert await piece == b"more"


async def test_a_log_of_a_task_has_its_standard_error_apart(site: Site) -> None:
    machine = await site.join()
    (made,) = await site.do(lambda client: client.create_tasks(TaskSpec(("make",))))
    task = await site.services.tasks.get(ROOT, made.id)

    async def pieces() -> AsyncIterator[bytes | Stderr]:
        yield b"out"
        yield Stderr(b"err")

    async with process(site, machine) as runner:
        await runner.caught_up()
        async with site.store.write("test") as tx:
            await tx.put(replace(task, runner=machine.uid, state=TaskState.RUNNING, epoch=1))
        reading = asyncio.create_task(site.do(lambda client: [*client.read_task_logs(made.id, 5, follow=True)]))
        request = await _log_request(runner)
        assert (request.task_id, request.tail_lines, request.follow) == (made.id, 5, True)
        async with asyncio.timeout(PATIENCE):
            await runner.link.send_logs(request.stream_id, pieces())
            assert await reading == [Stdout(b"out"), Stderr(b"err")]


async def test_one_user_does_not_hold_all_of_a_runners_readers(site: Site) -> None:
    """Room for others is left: the logs of one session are read by its owner and by an admin."""
    session, machine = await _running(site)

    async def read(user: str) -> bytes | Stderr:
        return await anext(aiter(site.server._logs.read(machine.uid, session.uid, 1, True, user=user)))

    async with process(site, machine) as runner:
        await runner.caught_up()
        tasks = [asyncio.create_task(read("alice")) for _ in range(MAX_PER_USER)]
        await soon(lambda: len(site.server._logs._transfers) == MAX_PER_USER)
        with pytest.raises(Exhausted, match="user alice reads 4 logs on this runner already"):
            await read("alice")
        tasks.append(asyncio.create_task(read("root")))
        await soon(lambda: len(site.server._logs._transfers) == MAX_PER_USER + 1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert not site.server._logs._transfers


async def test_a_runner_that_does_not_answer_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.rpc.server.runners.session_logs.FIRST_ANSWER_TIMEOUT", 0.1)
    monkeypatch.setattr("netvps.rpc.client.transport.service_config", lambda: "{}")
    _, machine = await _running(site)
    async with process(site, machine) as runner:
        await runner.caught_up()
        with pytest.raises(Unavailable, match="did not answer"):
            await _read(site)


async def test_logs_of_a_runner_that_is_away_are_unavailable(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.rpc.client.transport.service_config", lambda: "{}")
    await _running(site)
    with pytest.raises(Unavailable, match="not connected"):
        await _read(site)


async def _running(site: Site) -> tuple[Session, Machine]:
    session = await site.services.sessions.create(ALICE, session_id="dev1", owner="", spec=default_spec())
    machine = await site.join()
    await site.services.runners.online(machine.uid, hello())
    return session, machine


SINCE = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


async def _read(site: Site) -> bytes:
    return await site.do(lambda client: b"".join(client.read_logs("dev1.alice", 7, follow=True, since=SINCE)))


async def _log_request(runner: Process) -> LogRequest:
    await soon(lambda: any(isinstance(message, LogRequest) for message in runner.heard))
    return next(message for message in runner.heard if isinstance(message, LogRequest))


async def _pieces(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _failing() -> AsyncIterator[bytes]:
    for piece in (b"",):
        if not piece:
            raise NotFound("the container is gone")
        yield piece


async def _endless() -> AsyncIterator[bytes]:
    while True:
        await asyncio.sleep(0.001)
        yield b"more"
