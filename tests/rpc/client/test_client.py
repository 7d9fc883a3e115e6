"""Every method of the client, over the local socket and over TLS, against real services.

So it is the test of the servicers, too: netvps.rpc.servicers.sessions, netvps.rpc.servicers.runners,
netvps.rpc.servicers.people.users, netvps.rpc.servicers.people.ssh_keys, netvps.rpc.servicers.server_info; and of
netvps.rpc.client.trust.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import asyncssh
import pytest

from netvps.domain.access.accounts import Role
from netvps.domain.batch import NewSession, NotCreated
from netvps.domain.runner.placement import Verdict
from netvps.domain.runner.runner import Underlay
from netvps.domain.session.exec import ExecStart, Exit, Stderr, Stdin, StdinEof, Stdout, TerminalSize
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.session.spec import Network, SessionSpec
from netvps.errors import (
    AlreadyExists,
    Changed,
    InvalidInput,
    NotFound,
    NotPermitted,
    TooOld,
    Unauthenticated,
    Unavailable,
    WrongState,
)
from netvps.rpc.client.channel import Endpoint
from netvps.rpc.client.client import Client, EventType, fetch_server_info
from tests.fakes.keys import ed25519
from tests.rpc.site import default_spec, hello, soon

if TYPE_CHECKING:
    from collections.abc import Iterator

    from asyncssh.public_key import SSHOpenSSHCertificate

    from netvps.domain.session.exec import ToCommand
    from tests.rpc.site import Site


async def test_a_session_is_created_found_listed_changed_and_deleted(site: Site) -> None:
    spec = SessionSpec(image="debian:12", cpus=1.5, env={"A": "b"}, stop_grace=2.5, labels={"team": "x"})

    def work(client: Client) -> None:
        made = client.create_session("dev1", spec)
        assert (str(made.full_name), made.spec, made.state) == ("dev1.root", spec, SessionState.PENDING)
        assert client.get_session("dev1") == client.get_session("dev1.root") == made
        assert list(client.list_sessions()) == [replace(made, spec=replace(spec, env={}))]
        stopped = client.stop_session("dev1", expected_revision=made.revision)
        assert stopped.desired is DesiredState.STOPPED
        with pytest.raises(Changed):
            client.start_session("dev1", expected_revision=made.revision)
        assert client.start_session("dev1").desired is DesiredState.RUNNING
        renamed = client.rename_session("dev1", "web")
        assert (renamed.name, renamed.uid) == ("web", made.uid)
        protected = client.update_session("web", SessionSpec(delete_protection=True), {"delete_protection"})
        assert protected.spec == replace(spec, delete_protection=True)
        with pytest.raises(WrongState, match="--no-protect"):
            client.delete_session("web")
        client.update_session("web", SessionSpec(), {"delete_protection"})
        with pytest.raises(WrongState, match="only a running session can be paused"):
            client.pause_session("web")
        assert client.resume_session("web").desired is DesiredState.RUNNING
        client.delete_session("web")

    await site.do(work)
    await site.do(work, await site.remote("root"))


async def test_a_running_session_is_paused_and_resumed(site: Site) -> None:
    await site.running()

    def work(client: Client) -> None:
        assert client.pause_session("dev1.alice").desired is DesiredState.PAUSED
        assert client.resume_session("dev1.alice").desired is DesiredState.RUNNING

    await site.do(work)


async def test_lists_page_by_themselves(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.rpc.client.transport.PAGE_SIZE", 2)

    def work(client: Client) -> list[str]:
        for number in range(5):
            client.create_session(f"dev{number}", default_spec())
        return [session.name for session in client.list_sessions("-")]

    assert await site.do(work) == [f"dev{number}" for number in range(5)]
    assert [user.name for user in await site.do(lambda client: list(client.list_users()))] == ["alice", "bob", "root"]


async def test_the_server_lists_what_a_filter_matches(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.rpc.client.transport.PAGE_SIZE", 2)

    def work(client: Client) -> list[str]:
        for number in range(5):
            client.create_session(f"dev{number}", default_spec())
        with pytest.raises(InvalidInput, match="filter: column 5: there is no field 'nam'"):
            list(client.list_sessions("-", "dev nam=x"))
        return [session.name for session in client.list_sessions("-", "-name=dev1 dev")]

    assert await site.do(work) == ["dev0", "dev2", "dev3", "dev4"]


async def test_sessions_with_large_environments_are_listed_and_watched(site: Site) -> None:
    spec = SessionSpec(image="debian:12", env={f"A{number}": "x" * 32_000 for number in range(8)})

    def work(client: Client) -> list[str]:
        for number in range(20):
            client.create_session(f"dev{number:02}", spec)
        assert client.get_session("dev00").spec == spec
        events = client.watch_sessions()
        listed = [event.session.name for event in itertools.islice(events, 20) if event.session]
        events.close()
        assert listed == [session.name for session in client.list_sessions()]
        return listed

    assert await site.do(work) == [f"dev{number:02}" for number in range(20)]


async def test_a_session_of_another_owner_is_not_found(site: Site) -> None:
    await site.do(lambda client: client.create_session("dev1", default_spec(), owner="alice"))
    alice, bob = await site.remote("alice"), await site.remote("bob")
    assert (await site.do(lambda client: client.get_session("dev1"), alice)).owner == "alice"
    with pytest.raises(NotFound) as theirs:
        await site.do(lambda client: client.get_session("dev1.alice"), bob)
    with pytest.raises(NotFound) as missing:
        await site.do(lambda client: client.get_session("dev2.alice"), bob)
    assert str(theirs.value).replace("dev1", "dev2") == str(missing.value)


async def test_all_violations_come_together_with_their_fields(site: Site) -> None:
    spec = SessionSpec(image="debian:12")
    object.__setattr__(spec, "cpus", -1.0)
    object.__setattr__(spec, "env", {"1A": "b"})
    with pytest.raises(InvalidInput) as error:
        await site.do(lambda client: client.create_session("Not A Name", spec, owner="x"))
    assert [violation.field for violation in error.value.violations] == ["session_id", "spec.cpus", "spec.env['1A']"]
    assert all(violation.description for violation in error.value.violations)


async def test_validate_only_creates_nothing(site: Site) -> None:
    drawn = await site.do(lambda client: client.create_session("dev1", default_spec(), validate_only=True))
    assert drawn.name == "dev1"
    assert await site.do(lambda client: list(client.list_sessions())) == []


async def test_users_and_keys(site: Site) -> None:
    def work(client: Client) -> str:
        assert client.create_user("carol", Role.USER).role is Role.USER
        with pytest.raises(AlreadyExists):
            client.create_user("carol", Role.USER)
        assert client.get_user("carol").name == "carol"
        assert client.get_user().name == "root"
        key = client.create_ssh_key(f"{ed25519(1)} laptop", user="carol")
        assert (key.owner, key.title) == ("carol", "laptop")
        assert list(client.list_ssh_keys("carol")) == [key]
        assert client.delete_ssh_key(key.fingerprint, "carol").uid == key.uid
        return client.create_api_key("carol")

    secret = await site.do(work)
    endpoint = replace(await site.remote(), api_key=secret)
    assert (await site.do(lambda client: client.get_user(), endpoint)).name == "carol"
    with pytest.raises(NotPermitted):
        await site.do(lambda client: list(client.list_users()), endpoint)
    kid = secret.split("_")[1]
    await site.do(lambda client: client.delete_api_key(f"carol/{kid}"))
    with pytest.raises(Unauthenticated):
        await site.do(lambda client: client.get_user(), endpoint)
    await site.do(lambda client: client.delete_user("carol"))


async def test_api_keys_and_certificates(site: Site) -> None:
    def work(client: Client) -> str:
        secret = client.create_api_key("alice", title="ci", ttl=3600)
        (key,) = client.list_api_keys("alice")
        assert (key.user, key.title, key.last_use_time) == ("alice", "ci", None)
        assert key.expire_time is not None
        assert (key.expire_time - key.create_time).total_seconds() == 3600
        return secret

    secret = await site.do(work)
    endpoint = replace(await site.remote(), api_key=secret)
    revision = site.store.revision
    certificate = await site.do(lambda client: client.issue_ssh_certificate(ed25519(1)), endpoint)
    found = cast("SSHOpenSSHCertificate", asyncssh.import_certificate(certificate))
    assert found.principals == ["users/alice"]
    assert found.signing_key == asyncssh.import_public_key(site.ca.ssh_user_ca)
    assert site.store.revision == revision
    await site.do(lambda client: client.issue_ssh_certificate(ed25519(1), 8 * 3600), endpoint)
    with pytest.raises(InvalidInput, match="ttl"):
        await site.do(lambda client: client.issue_ssh_certificate(ed25519(1), 9 * 3600), endpoint)
    with pytest.raises(InvalidInput, match="public_key"):
        await site.do(lambda client: client.issue_ssh_certificate("nonsense"), endpoint)
    with pytest.raises(NotFound, match="session 'dev1' is not open to you"):
        await site.do(lambda client: client.issue_ssh_ticket("dev1", bytes(49)), endpoint)
    with pytest.raises(InvalidInput, match="attachment"):
        await site.do(lambda client: client.issue_ssh_ticket("dev1", b""), endpoint)
    (key,) = await site.do(lambda client: list(client.list_api_keys()), endpoint)
    assert key.last_use_time is not None


async def test_runners_and_join_tokens(site: Site) -> None:
    machine = await site.join("lab1")
    token, expires = await site.do(lambda client: client.create_join_token())
    assert token.startswith("nvj_")
    assert token.endswith(site.ca.fingerprint)
    assert expires.tzinfo is not None
    views = await site.do(lambda client: list(client.list_runners()), await site.remote("alice"))
    assert [(view.runner.name, view.runner.uid) for view in views] == [("lab1", machine.uid)]
    assert await site.do(lambda client: client.get_runner("lab1")) == views[0]
    labelled = await site.do(lambda client: client.label_runner("lab1", {"rack": "3"}, ["old"]))
    assert labelled.runner.labels == ("rack=3",)
    found = await site.do(lambda client: [*client.list_runners("labels.rack=3", "create_time desc")])
    assert [view.runner.name for view in found] == ["lab1"]
    plan = await site.do(lambda client: client.plan_session("dev1", default_spec()))
    assert (plan.session.name, plan.session.runner_name) == ("dev1", "")
    assert plan.verdicts == (Verdict("lab1", "it is offline"),)


async def test_a_watcher_hears_of_everything_once_and_resumes(site: Site) -> None:
    await site.do(lambda client: client.create_session("dev1", default_spec()))

    def watch(client: Client) -> tuple[list[tuple[EventType, str]], int]:
        events, heard = client.watch_sessions("-"), []
        for event in events:
            heard.append((event.type, event.session.name if event.session else ""))
            if event.type is EventType.CAUGHT_UP:
                client.create_session("dev2", default_spec())
            elif event.session and event.session.name == "dev2":
                events.close()
                return heard, event.revision
        raise AssertionError

    heard, revision = await site.do(watch)
    assert heard == [(EventType.PUT, "dev1"), (EventType.CAUGHT_UP, ""), (EventType.PUT, "dev2")]
    await site.do(lambda client: client.create_session("dev3", default_spec()))
    first = await site.do(lambda client: next(client.watch_sessions("-", revision)))
    assert first.session is not None
    assert first.session.name == "dev3"


async def test_a_runner_on_the_overlay_its_sessions_addresses_and_its_removal(site: Site) -> None:
    machine = await site.join()
    way = Underlay(("192.0.2.1", "2001:db8::1"), 1450)
    await site.services.runners.online(machine.uid, replace(hello(), underlay=way))
    spec = SessionSpec(image="debian:12", network=Network.OVERLAY)
    made = await site.do(lambda client: client.create_session("dev1", spec))
    assert (made.address, made.spec.network) == ("10.128.0.2", Network.OVERLAY)
    assert (await site.do(lambda client: client.get_runner("lab1"))).runner.underlay == way
    with pytest.raises(WrongState, match="runner lab1 has 1 session: move them first"):
        await site.do(lambda client: client.delete_runner("lab1"))
    with pytest.raises(NotPermitted):
        await site.do(lambda client: client.delete_runner("lab1", force=True), await site.remote("alice"))
    await site.do(lambda client: client.delete_runner("lab1", force=True))
    assert await site.do(lambda client: [*client.list_runners(), *client.list_sessions()]) == []


async def test_a_revision_that_is_gone_is_too_old(site: Site) -> None:
    await site.do(lambda client: client.create_session("dev1", default_spec()))
    site.store.horizon = site.store.revision
    with pytest.raises(TooOld):
        await site.do(lambda client: list(client.watch_sessions("-", 1)))


async def test_a_command_gets_its_input_and_gives_its_output(site: Site) -> None:
    await site.running("dev1")

    def messages() -> Iterator[ToCommand]:
        yield Stdin(b"x" * 100_000)
        yield TerminalSize(80, 24)
        yield StdinEof()

    start = ExecStart("dev1", ("cat", "-"), terminal=TerminalSize(100, 30), term="xterm")
    output = await site.do(lambda client: list(client.exec(start, messages())), await site.remote("alice"))
    assert output[0] == Stdout(b"alice runs cat - as root in dev1.alice")
    assert b"".join(piece.data for piece in output[1:-2] if isinstance(piece, Stdout)) == b"x" * 100_000
    assert output[-2:] == [Stderr(b"80x24"), Exit(137, "KILL")]


async def test_a_command_ends_when_its_reader_goes_away(site: Site) -> None:
    await site.running("dev1")

    def forever() -> Iterator[ToCommand]:
        while not site.commands.ended.is_set():
            yield Stdin(b"more")

    def work(client: Client) -> None:
        output = client.exec(ExecStart("dev1.alice", ("yes",)), forever())
        next(output)

    await site.do(work)
    await soon(site.commands.ended.is_set)


async def test_a_command_needs_a_running_session(site: Site) -> None:
    await site.do(lambda client: client.create_session("dev1", default_spec()))
    with pytest.raises(WrongState, match=r"session dev1\.root is PENDING.*netvps start dev1"):
        await site.do(lambda client: list(client.exec(ExecStart("dev1", ("true",)), iter(()))))


async def test_the_first_message_of_a_command_is_its_start(site: Site) -> None:
    start = ExecStart("dev1", ("true",))
    object.__setattr__(start, "argv", ())
    with pytest.raises(InvalidInput, match=r"start\.argv"):
        await site.do(lambda client: list(client.exec(start, iter(()))))


async def test_who_the_server_is_can_be_asked_before_it_is_trusted(site: Site) -> None:
    info = await asyncio.to_thread(fetch_server_info, site.api_address)
    assert info == site.services.info()
    with pytest.raises(InvalidInput):
        fetch_server_info("nowhere")
    with pytest.raises(Unavailable, match=r"no netvps server answers at 127\.0\.0\.1:1"):
        await asyncio.to_thread(fetch_server_info, "127.0.0.1:1")


async def test_a_missing_server_is_explained() -> None:
    endpoint = Endpoint("unix:/nonexistent/api.sock")
    with pytest.raises(Unavailable, match=r"no netvps server answers at unix:.*: start one with: netvps up, or log in"):
        Client(endpoint).get_user()


async def test_another_ca_is_explained(site: Site, tmp_path: object) -> None:
    from pathlib import Path

    from netvps.adapters.ca.opening import open_ca
    from tests.rpc.site import now

    other = open_ca(Path(str(tmp_path)) / "ca", "other", now)
    endpoint = replace(await site.remote(), ca_certificate=other.certificate)
    with pytest.raises(Unauthenticated, match="another CA than the one that was pinned"):
        await site.do(lambda client: client.get_user(), endpoint)


def test_importing_the_client_is_cheap() -> None:
    """The CLI imports it for every command: nothing that a synchronous gRPC call does not need."""
    heavy = "sqlalchemy asyncssh netaddr pydantic structlog docker cryptography google.rpc aiohttp netvps.services"
    program = f"import netvps.client, sys; print([n for n in {heavy.split()!r} if n in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert answer.stdout.strip() == "[]"


async def test_sessions_are_created_together_and_waited_for(site: Site) -> None:
    def work(client: Client) -> None:
        new = [NewSession(name, default_spec()) for name in ("dev1", "dev2")]
        assert [one.name for one in client.create_many(new) if isinstance(one, Session)] == ["dev1", "dev2"]
        with pytest.raises(AlreadyExists, match=r"requests\[0\]"):
            client.create_many(new)
        failed, made = client.create_many([new[0], NewSession("dev3", default_spec(), "root")], each=True)
        assert isinstance(failed, NotCreated)
        assert (failed.reason, isinstance(made, Session)) == ("ALREADY_EXISTS", True)
        with pytest.raises(InvalidInput) as caught:
            client.create_many([NewSession("Not A Name", default_spec())])
        assert [one.field for one in caught.value.violations] == ["requests[0].session_id"]
        with pytest.raises(InvalidInput, match="0 are not between 1 and 100"):
            client.create_many([])
        session, reached = client.wait_session("dev1", [SessionState.PENDING, SessionState.RUNNING])
        assert (session.name, reached) == ("dev1", True)
        assert not client.wait_session("dev1", [SessionState.RUNNING], 0.01)[1]
        with pytest.raises(InvalidInput) as caught:
            client.wait_session("dev1", [], 301)
        assert [one.field for one in caught.value.violations] == ["states", "timeout"]

    await site.do(work)
