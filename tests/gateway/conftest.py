"""A gateway with a fake authorizer, and a session whose agent is a fake in front of OpenSSH's sshd."""

from __future__ import annotations

import asyncio
import socket
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import asyncssh
import pytest

from netvps.domain.access.admission import Admission
from netvps.domain.access.audit import AuditEvent
from netvps.domain.names import SshLogin
from netvps.domain.session.session import DesiredState, Session, SessionState
from netvps.domain.session.spec import SessionSpec
from netvps.domain.sleep.waking import LoginKind
from netvps.domain.tunnel import AgentConfig
from netvps.errors import NotFound, Unavailable
from netvps.gateway.ports import Authorizer, Locate, SessionDialer, SnapshotBrowser, Tickets
from netvps.gateway.relay.relay import Relay
from netvps.gateway.ssh.agent_login import AgentLogin
from netvps.gateway.ssh.gateway import ConnectionLimits, SshGateway
from netvps.gateway.ssh.listener import listen_at
from netvps.gateway.ssh.proxy_header import Balancers
from netvps.gateway.tui.apps import TerminalApps
from netvps.gateway.tunnel.dialer import Dialer
from netvps.gateway.tunnel.tunnels import Tunnels
from netvps.gateway.worker.client import ControlPlane
from netvps.gateway.worker.server import WorkerSocket
from netvps.gateway.worker.wire import Welcome
from netvps.services.access.logins import Grant, SessionRef, ref_to
from netvps.services.access.ssh_tickets import Admitted, SshTickets
from netvps.services.access.terminal_ui import TERMINAL_UI
from netvps.services.network.gateway_location import Route
from tests.gateway.fake_agent import FakeAgent
from tests.gateway.fake_reports import FakeReports
from tests.gateway.programs import Ran, run

__all__ = ("Ran", "run")

UID = "0d1e2f3g4h5j6"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def a_session(state: SessionState = SessionState.RUNNING) -> Session:
    """Session dev1 of alice."""
    return Session(
        uid=UID,
        name="dev1",
        owner="alice",
        spec=SessionSpec(),
        desired=DesiredState.RUNNING,
        generation=1,
        create_time=NOW,
        update_time=NOW,
        state=state,
        epoch=1,
    )


@dataclass
class FakeDoorman:
    """Accepts the keys in `keys`, for one session."""

    user_ca: asyncssh.SSHKey
    keys: dict[str, str] = field(default_factory=dict)
    """Fingerprint to user."""
    users: set[str] = field(default_factory=lambda: {"alice"})
    """Who gets in with a certificate."""
    session: Session = field(default_factory=a_session)
    asked: list[tuple[SshLogin, str]] = field(default_factory=list)
    changes: list[asyncio.Queue[None]] = field(default_factory=list)
    woken: list[tuple[str, str]] = field(default_factory=list)
    kinds: list[LoginKind] = field(default_factory=list)
    cannot_wake: str = ""
    looks: int = 0
    next_look: dict[str, Any] = field(default_factory=lambda: {"state": SessionState.RUNNING})
    """What changes of the session after each look at it."""
    over: bool = False
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    """Configs are sent once it is set, which it is at first."""

    terminal_ui: bool = False
    """Users get the terminal UI with other names."""
    tokens: set[str] = field(default_factory=set)
    """Credentials of terminal UIs that are good."""

    def __post_init__(self) -> None:
        self.ready.set()

    async def mint_token(self, user: str) -> str:
        token = f"token-of-{user}-{len(self.tokens)}"
        self.tokens.add(token)
        return token

    def revoke_token(self, token: str) -> None:
        self.tokens.remove(token)

    async def authorize(self, login: SshLogin, fingerprint: str) -> Grant:
        self.asked.append((login, fingerprint))
        user = self.keys.get(fingerprint)
        if user and self.terminal_ui and login.session != self.session.name:
            return Grant(SessionRef(TERMINAL_UI, TERMINAL_UI, user, SessionState.RUNNING), login.unix_user, user)
        if user is None or login.session != self.session.name or (login.owner or user) != self.session.owner:
            raise NotFound(f"there is no session {login.session} of yours")
        return Grant(ref_to(self.session), login.unix_user, user)

    async def authorize_user(self, login: SshLogin, user_name: str) -> Grant:
        if user_name not in self.users or login.session != self.session.name:
            raise NotFound(f"there is no session {login.session} of yours")
        return Grant(ref_to(self.session), login.unix_user, user_name)

    async def wake(self, session_uid: str, actor: str, kind: LoginKind) -> None:
        self.woken.append((session_uid, actor))
        self.kinds.append(kind)
        if self.cannot_wake:
            raise Unavailable(self.cannot_wake)
        if self.session.desired is DesiredState.STOPPED:
            self.session = replace(
                self.session, desired=DesiredState.RUNNING, state=SessionState.STARTING, runner="r", message="starting"
            )

    async def look(self, session_uid: str) -> SessionRef:
        self.looks += 1
        seen, self.session = self.session, replace(self.session, **self.next_look)
        return ref_to(seen)

    async def certify(self, grant: Grant, public_key: str) -> str:
        certificate = self.user_ca.generate_user_certificate(
            asyncssh.import_public_key(public_key),
            f"{grant.user}@{grant.session.full_name}",
            principals=[f"{grant.session.uid}/{grant.unix_user}"],
            valid_after="-1m",
            valid_before="+2m",
        )
        return certificate.export_certificate().decode()

    async def configs(self, session_uid: str, epoch: int, host_key: str) -> AsyncGenerator[AgentConfig, None]:
        queue: asyncio.Queue[None] = asyncio.Queue()
        self.changes.append(queue)
        generation = 0
        await self.ready.wait()
        while not self.over:
            generation += 1
            yield AgentConfig(generation, tuple(self.keys), (), "")
            await queue.get()
        raise NotFound(f"session {session_uid} is not in epoch {epoch} any more")

    def change(self) -> None:
        for queue in self.changes:
            queue.put_nowait(None)


@dataclass(frozen=True)
class LocalTickets:
    """Tickets of the same process."""

    tickets: SshTickets

    async def redeem(self, ticket: str) -> Admitted:
        return self.tickets.redeem(ticket)


@dataclass(frozen=True)
class Sshd:
    """OpenSSH's server, as an agent would be: CA for users, certified host key."""

    port: int
    user_ca: asyncssh.SSHKey
    host_ca: asyncssh.SSHKey


@dataclass
class FakePlace:
    """On the overlay, where every session has the same address; or not."""

    address: str | None = "127.0.0.1"

    async def locate(self, _session_uid: str) -> Route | None:
        return Route("127.0.0.1", self.address, epoch=1) if self.address else None


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    folder = tmp_path_factory.mktemp("sshd")
    user_ca, host_ca, host_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(3))
    user_ca.write_public_key(str(folder / "user_ca.pub"))
    host_key.write_private_key(str(folder / "host"))
    certificate = host_ca.generate_host_certificate(host_key, "host", principals=[UID])
    certificate.write_certificate(str(folder / "host-cert.pub"))
    (folder / "host").chmod(0o600)
    (folder / "principals").write_text(f"{UID}/root\n")
    port = free_port()
    (folder / "config").write_text(
        f"""ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
HostCertificate {folder}/host-cert.pub
TrustedUserCAKeys {folder}/user_ca.pub
AuthorizedPrincipalsFile {folder}/principals
AuthorizedKeysFile none
PermitRootLogin yes
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
PrintMotd no
PrintLastLog no
PidFile none
MaxStartups 100:30:200
MaxSessions 100
StreamLocalBindUnlink yes
AcceptEnv NETVPS_EXEC_ARGV
Subsystem sftp internal-sftp
"""
    )
    Path("/run/sshd").mkdir(exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["/usr/sbin/sshd", "-D", "-e", "-f", str(folder / "config")], stderr=log)
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError((folder / "log").read_text()) from None
                subprocess.run(["sleep", "0.05"], check=True)
        yield Sshd(port, user_ca, host_ca)
    finally:
        process.terminate()
        process.wait(5)


@dataclass
class World:
    """All of it, and how to come in."""

    gateway: SshGateway
    dialer: Dialer
    tunnels: Tunnels
    authorizer: FakeDoorman
    agent_login: AgentLogin
    agent: FakeAgent
    folder: Path
    key: Path
    tickets: SshTickets
    worker: WorkerSocket | None = None
    relay: Relay | None = None

    def ssh_options(self, key: Path | None = None) -> list[str]:
        values = {
            "IdentityFile": key or self.key,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": self.folder / "known_hosts",
            "ConnectTimeout": 20,
        }
        return ["-F", "none", *(part for name, value in values.items() for part in ("-o", f"{name}={value}"))]

    def ssh(
        self, *command: str, login: str = "dev1", options: tuple[str, ...] = (), key: Path | None = None
    ) -> list[str]:
        address = ["-p", str(self.gateway.port), f"{login}@127.0.0.1"]
        return ["ssh", *options, *self.ssh_options(key), *address, *command]

    def set_state(self, state: SessionState) -> None:
        self.authorizer.session = replace(self.authorizer.session, state=state)


def new_key(path: Path) -> Path:
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(str(path))
    path.chmod(0o600)
    return path


@pytest.fixture
async def world(sshd: Sshd, tmp_path: Path) -> AsyncIterator[World]:
    async with a_world(sshd, tmp_path) as made:
        yield made


class a_world:
    """The fixture, for tests that want to set something (rekey_bytes)."""

    def __init__(
        self,
        sshd: Sshd,
        folder: Path,
        *,
        rekey_bytes: int = 1 << 30,
        place: FakePlace | None = None,
        limits: ConnectionLimits | None = None,
        admission: Admission | None = None,
        balancers: Balancers | None = None,
        audit: Callable[[AuditEvent], None] = lambda _event: None,
        apart: bool = False,
        ui_apps: TerminalApps | None = None,
        relay: Path | None = None,
    ) -> None:
        """`apart`: the gateway reaches the rest by the private socket, as in a process of its own.

        `relay`: the agent's program; connections on sockets (apart, or on the overlay) are handed over to it.
        """
        self.sshd, self.folder, self.rekey_bytes, self.place = sshd, folder, rekey_bytes, place
        self.apart = apart
        self.ui_apps = ui_apps
        self.relay_program = relay
        self.stack = AsyncExitStack()
        self.limits, self.admission, self.balancers, self.audit = limits, admission, balancers, audit

    async def __aenter__(self) -> World:
        key = new_key(self.folder / "id")
        authorizer = FakeDoorman(self.sshd.user_ca, terminal_ui=self.ui_apps is not None)
        authorizer.keys[asyncssh.read_private_key(str(key)).get_fingerprint()] = "alice"
        self.tunnels = Tunnels(authorizer, FakeReports())
        await self.tunnels.__aenter__()
        host_ca = self.sshd.host_ca.export_public_key().decode()
        host_key = asyncssh.generate_private_key("ssh-ed25519")
        user_ca = self.sshd.user_ca.export_public_key().decode()
        fits: Authorizer = authorizer
        dialer: SessionDialer = self.tunnels
        locate: Locate | None = self.place.locate if self.place else None
        worker: WorkerSocket | None = None
        browser: SnapshotBrowser | None = None
        tickets = SshTickets(authorizer, lambda: datetime.now(UTC))
        redeemed: Tickets = LocalTickets(tickets)
        if self.apart:
            welcome = Welcome(host_key.export_private_key().decode(), host_ca, user_ca, 1000, 500, "")
            path = Path(self.stack.enter_context(TemporaryDirectory(prefix="nv-"))) / "gateway" / "control.sock"
            served = WorkerSocket(path, authorizer, self.tunnels, locate, welcome, tickets=tickets)
            worker = await self.stack.enter_async_context(served)
            plane = await self.stack.enter_async_context(ControlPlane(path))
            assert plane.welcome == welcome
            fits, dialer, locate, browser, redeemed = plane, plane, plane.locate, plane, plane
        relay = await self.stack.enter_async_context(Relay(self.relay_program)) if self.relay_program else None
        agent_login = AgentLogin(fits, host_ca, rekey_bytes=self.rekey_bytes)
        self.dialer = Dialer(dialer, locate)
        await self.dialer.__aenter__()
        self.gateway = SshGateway(
            fits,
            self.dialer,
            agent_login,
            sock=listen_at("127.0.0.1", 0),
            host_key=host_key.export_private_key().decode(),
            user_ca=user_ca,
            rekey_bytes=self.rekey_bytes,
            limits=self.limits,
            admission=self.admission,
            balancers=self.balancers,
            audit=self.audit,
            ui_apps=self.ui_apps,
            ui_tokens=authorizer,
            relay=relay,
            browser=browser,
            tickets=redeemed,
        )
        await self.gateway.__aenter__()
        known = f"[127.0.0.1]:{self.gateway.port} {host_key.export_public_key().decode()}"
        (self.folder / "known_hosts").write_text(known)
        self.agent = FakeAgent(self.tunnels, UID, self.sshd.port)
        await self.agent.__aenter__()
        return World(
            self.gateway,
            self.dialer,
            self.tunnels,
            authorizer,
            agent_login,
            self.agent,
            self.folder,
            key,
            tickets,
            worker,
            relay,
        )

    async def __aexit__(self, *_: object) -> None:
        await self.gateway.__aexit__()
        await self.dialer.__aexit__()
        await self.stack.aclose()
        await self.agent.__aexit__()
        await self.tunnels.__aexit__()
