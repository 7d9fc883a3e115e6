"""A whole API server over real sockets: real services on a store in memory, a real CA; the ports are echoes."""
# These are netvps.rpc.server.ports.

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import tempfile
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from netvps.adapters.ca.client_key import new_key, signing_request
from netvps.adapters.ca.opening import open_ca
from netvps.domain.access.accounts import Caller, Role, User
from netvps.domain.http.site import Site as AppsSite
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.runner.runner import CAPABILITIES, Capacity, RunnerHello
from netvps.domain.server import Registration, ServerInfo
from netvps.domain.session.exec import Exit, Stderr, Stdin, StdinEof, Stdout, TerminalSize
from netvps.domain.session.session import SessionReport, SessionState
from netvps.domain.sleep.policy import SleepDefaults
from netvps.domain.tunnel import Credit, Data, DialRequest, Drain, Eof, Reset, SshTarget
from netvps.domain.uid import make_uid
from netvps.errors import NotFound
from netvps.rpc.client.channel import Endpoint
from netvps.rpc.client.client import Client
from netvps.rpc.client.link_client import RunnerLink
from netvps.rpc.convert.runner.netmap import encoded
from netvps.rpc.server.listeners import Addresses, Certificate
from netvps.rpc.server.server import ApiServer
from netvps.rpc.server.services import Services
from netvps.services.access.accounts import Access
from netvps.services.access.audit import AuditLog
from netvps.services.access.invitations import Invitations
from netvps.services.access.key_uses import KeyUseLog
from netvps.services.access.logins import Logins
from netvps.services.access.oidc_logins import OidcLogins
from netvps.services.access.quotas import Quotas
from netvps.services.access.registration import Registrations
from netvps.services.access.ssh_certificates import SshCertificates
from netvps.services.access.ssh_keys import SshKeys
from netvps.services.access.ssh_tickets import SshTickets
from netvps.services.access.terminal_ui import UiTokens
from netvps.services.copies.copies import Copies
from netvps.services.feed import Feed
from netvps.services.http.stored_urls import StoredUrls
from netvps.services.http.urls import Urls
from netvps.services.http.visits import Visits
from netvps.services.images.default_image import DefaultImages
from netvps.services.images.images import Images
from netvps.services.images.registries import Registries
from netvps.services.metrics import Metrics
from netvps.services.moves.moves import Moves
from netvps.services.network.netmap import NetmapHub
from netvps.services.network.network import Network
from netvps.services.runners.certificates import Certificates
from netvps.services.runners.joining import Joining
from netvps.services.runners.runners import Runners
from netvps.services.scheduling.leases import Leases
from netvps.services.scheduling.reservations import Reservations
from netvps.services.sessions.assignments import follow
from netvps.services.sessions.progress import Progress
from netvps.services.sessions.sessions import Sessions
from netvps.services.sessions.watch import Watch
from netvps.services.sharing.guard import ShareGuard
from netvps.services.sharing.shares import Shares
from netvps.services.sleep.rules import IdleRules
from netvps.services.snapshots.clones import Clones
from netvps.services.snapshots.files import SnapshotFiles
from netvps.services.snapshots.snapshots import Snapshots
from netvps.services.snapshots.take import Limits
from netvps.services.tasks.tasks import Tasks as TaskUseCases
from netvps.tasks import Tasks
from tests.fakes.store import MemoryStore
from tests.support.patience import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from netvps.domain.session.exec import ExecStart, FromCommand, ToCommand
    from netvps.domain.session.session import Session
    from netvps.domain.tunnel import AgentHello, DialTarget, Frame, FromAgent, ToAgent
    from netvps.services.ports import OidcIssuer

T = TypeVar("T")

ROOT, ALICE = Caller("root", Role.ADMIN), Caller("alice", Role.USER)
HEARTBEAT = 0.1
CAPACITY = Capacity(cpus=8, memory_bytes=16 << 30, disk_free_bytes=100 << 30, engine_version="28.0")


def now() -> datetime:
    return datetime.now(UTC)


async def soon(condition: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Returns once the condition holds; it may be a coroutine function."""
    async with asyncio.timeout(seconds):
        while True:
            answer = condition()
            if await answer if inspect.isawaitable(answer) else answer:
                return
            await asyncio.sleep(0.005)


class EchoTunnels:
    """Asks each agent for one connection to its SSH server, and sends back what comes over it."""

    def __init__(self) -> None:
        self.heard: list[FromAgent] = []
        self.hellos: list[AgentHello] = []

    async def control(self, hello: AgentHello, incoming: AsyncIterator[FromAgent]) -> AsyncIterator[ToAgent]:
        self.hellos.append(hello)
        yield DialRequest("dial-1", SshTarget(), "alice@192.0.2.7:50312")
        async for message in incoming:
            self.heard.append(message)
            yield Drain()

    async def dial_back(self, session_uid: str, dial_id: str, incoming: AsyncIterator[Frame]) -> AsyncIterator[Frame]:
        if dial_id != "dial-1":
            raise NotFound(f"no dial {dial_id}")
        async for frame in incoming:
            match frame:
                case Data(payload):
                    yield Credit(len(payload))
                    yield frame
                case Eof():
                    yield frame
                    return
                case Reset():
                    yield Reset("you first")
                    return

    def has(self, session_uid: str) -> bool:
        return session_uid in {hello.session_uid for hello in self.hellos}

    async def relay(
        self, session_uid: str, target: DialTarget, origin: str, incoming: AsyncIterator[Frame]
    ) -> AsyncIterator[Frame]:
        return self.dial_back(session_uid, "dial-1", incoming)


class EchoCommands:
    """Tells on whose behalf it runs, copies the input to the output, sizes of the terminal to the errors."""

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def run(
        self, session: Session, start: ExecStart, incoming: AsyncIterator[ToCommand], *, user: str
    ) -> AsyncIterator[FromCommand]:
        yield Stdout(f"{user} runs {' '.join(start.argv)} as {start.user} in {session.full_name}".encode())
        try:
            async for message in incoming:
                match message:
                    case Stdin(data):
                        yield Stdout(data)
                    case TerminalSize(columns, rows):
                        yield Stderr(f"{columns}x{rows}".encode())
                    case StdinEof():
                        break
            yield Exit(137, "KILL")
        finally:
            self.ended.set()


@dataclass
class Machine:
    """A runner that joined: its uid, key and certificate."""

    uid: str
    key: str
    certificate: str


@dataclass
class Site:
    """What tests reach for."""

    folder: Path
    store: MemoryStore
    feed: Feed
    services: Services
    server: ApiServer
    ca: Any
    tunnels: EchoTunnels
    commands: EchoCommands
    machines: list[Machine] = field(default_factory=list)
    """Those that joined."""
    _keys: dict[str, str] = field(default_factory=dict)

    @property
    def local(self) -> Endpoint:
        return Endpoint(f"unix:{self.folder}/api.sock")

    @property
    def api_address(self) -> str:
        return f"127.0.0.1:{self.server.api_port}"

    @property
    def link_address(self) -> str:
        return f"127.0.0.1:{self.server.link_port}"

    async def remote(self, user: str = "root") -> Endpoint:
        """:7443 with a key of that user."""
        if user not in self._keys:
            _, self._keys[user] = await self.services.access.create_api_key(ROOT, user, "")
        return Endpoint(self.api_address, self.ca.certificate, self._keys[user])

    async def do(self, work: Callable[[Client], T], endpoint: Endpoint | None = None) -> T:
        """Runs blocking work with a client on another thread."""

        def run() -> T:
            with Client(endpoint or self.local) as client:
                return work(client)

        return await asyncio.to_thread(run)

    async def join(self, name: str = "lab1") -> Machine:
        token, _ = await self.services.runners.create_join_token(ROOT, "")
        key = new_key()
        joined = await self.services.joining.join(token, signing_request(key), name)
        self.machines.append(Machine(joined.runner.uid, key, joined.certificate))
        return self.machines[-1]

    def link(self, machine: Machine) -> RunnerLink:
        return RunnerLink(self.link_address, self.ca.certificate, machine.certificate, machine.key)

    def certificate_for(self, uri: str) -> tuple[str, str]:
        """(certificate, key) with an identity of the test's choice."""
        key = new_key()
        return self.ca.sign_client(signing_request(key), uri, now())[0], key

    async def running(self, name: str = "dev1", owner: Caller = ALICE) -> Session:
        """A session that its runner reports as RUNNING."""
        machine = await self.join()
        await self.services.runners.online(machine.uid, hello())
        spec = (await self.do(lambda client: client.create_session(name, default_spec(), owner=owner.user))).spec
        session = await self.services.sessions.get(owner, name)
        assert session.spec == spec
        report = SessionReport(session.uid, session.epoch, session.generation, SessionState.RUNNING)
        await self.services.runners.report(machine.uid, report)
        return await self.services.sessions.get(owner, name)


def hello(instance: str = "one") -> RunnerHello:
    return RunnerHello(instance, "1.0", CAPACITY, ("overlay", *CAPABILITIES))


def default_spec() -> Any:
    from netvps.domain.session.spec import SessionSpec

    return SessionSpec(image="debian:12")


@asynccontextmanager
async def open_site(
    local_users: Mapping[int, str] | None = None,
    addresses: Addresses | None = None,
    registration: Registration = Registration.INVITE_ONLY,
    issuer: OidcIssuer | None = None,
) -> AsyncIterator[Site]:
    """Everything runs until the block ends; uid 0 (or whoever runs the tests) is root."""
    numbers = itertools.count(1)

    def new_uid() -> str:
        return make_uid(int(now().timestamp() * 1000), next(numbers))

    with tempfile.TemporaryDirectory(prefix="nv") as name:
        folder = Path(name)
        await asyncio.to_thread(folder.chmod, 0o755)  # others come to the socket, too
        store = MemoryStore(now)
        async with store.write("test") as tx:
            for user, role in (("root", Role.ADMIN), ("alice", Role.USER), ("bob", Role.USER)):
                await tx.put(User(user, role, now()))
        ca = open_ca(folder / "ca", "test", now)
        feed, overlay_settings = Feed(store), OverlaySettings("test")
        netmap = NetmapHub(store, feed, overlay_settings, encoded)
        identity = ca.server_certificate(())
        tunnels, commands = EchoTunnels(), EchoCommands()
        copies = Copies(store, now)
        default_images = DefaultImages(store, now, feed, "debian:12")
        key_uses = KeyUseLog(store)
        access = Access(store, now, key_uses.note)
        visits = Visits(store, now, access, ca.vault, AppsSite.parse("http://localhost:7481", "root"))
        services = Services(
            sessions=Sessions(store, now, new_uid, "debian:12"),
            idle_rules=IdleRules(store, now, SleepDefaults()),
            snapshots=Snapshots(store, now, new_uid, Limits(), copies),
            copies=copies,
            moves=Moves(store, now, new_uid, copies),
            images=Images(store, default_images),
            default_images=default_images,
            registries=Registries(store, now, ca.vault),
            clones=Clones(store, now, new_uid),
            snapshot_files=SnapshotFiles(store, now, new_uid, Limits()),
            watch=Watch(store, feed, now),
            runners=Runners(
                store,
                now,
                ca,
                progress=Progress(store, feed),
                overlay_settings=overlay_settings,
                heartbeat_interval=HEARTBEAT,
                rows=netmap.runner,
            ),
            joining=Joining(store, now, new_uid, ca, overlay_settings, 22),
            assignments=partial(follow, store, feed),
            netmap=netmap,
            network=Network(store, netmap, overlay_settings, 22),
            metrics=Metrics(store, feed, interval=0.0),
            certificates=Certificates(store, now, ca),
            access=access,
            key_uses=key_uses,
            urls=Urls(store, now, visits),
            stored_urls=StoredUrls(store, now, visits),
            ssh_keys=SshKeys(store, now, new_uid),
            invitations=Invitations(store, now, ca, registration),
            oidc_logins=OidcLogins(store, now, new_uid, ca.vault, issuer),
            registrations=Registrations(store, now, new_uid, ca, registration),
            shares=Shares(store, now, feed),
            leases=Leases(store, now),
            reservations=Reservations(store, now, new_uid),
            tasks=TaskUseCases(store, now, new_uid, "debian:12", quotas=Quotas(), feed=feed),
            share_guard=ShareGuard(store, now, feed),
            ui_tokens=UiTokens(),
            audit=AuditLog(store, now, timedelta(days=365)),
            ssh_certificates=SshCertificates(now, ca),
            ssh_tickets=SshTickets(Logins(store, now, ca, feed), now),
            tunnels=tunnels,
            commands=commands,
            info=lambda: ServerInfo(
                "1.0",
                "test",
                ca.certificate,
                ":2222",
                "k",
                "h",
                f":{server.link_port}",
                "debian:12",
                registration=registration,
                oidc_issuer=issuer.rules.issuer if issuer else "",
            ),
        )
        server = ApiServer(
            services,
            addresses or Addresses(folder / "api.sock", "127.0.0.1:0", "127.0.0.1:0"),
            Certificate(identity.certificate, identity.key, ca.certificate),
            {os.geteuid(): "root"} if local_users is None else local_users,
            heartbeat_interval=HEARTBEAT,
        )
        async with Tasks() as tasks:
            tasks.start(feed.run(), name="feed")
            tasks.start(netmap.run(), name="netmap")
            async with server:
                yield Site(folder, store, feed, services, server, ca, tunnels, commands)
