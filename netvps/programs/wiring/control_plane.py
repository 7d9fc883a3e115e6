"""Builds the control plane with its gateway from its parts; programs and tests call the same `build`."""

from __future__ import annotations

import asyncio
import ipaddress
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from netvps import __version__
from netvps.adapters.ca.opening import open_ca
from netvps.adapters.netlink.interfaces.mac import link_mac
from netvps.domain.image.ahead import ImageAhead
from netvps.domain.overlay.kernel.links import OBJECT_NAMES
from netvps.domain.overlay.settings import OverlaySettings
from netvps.domain.runner.runner import Runner
from netvps.domain.server import Registration, ServerInfo
from netvps.domain.session.spec import Placement
from netvps.domain.sleep.policy import SleepDefaults
from netvps.gateway.http.monitoring import HttpGateway
from netvps.gateway.ssh.agent_login import AgentLogin
from netvps.gateway.tunnel.commands import Commands
from netvps.gateway.tunnel.dialer import Dialer
from netvps.gateway.tunnel.front import Behind
from netvps.gateway.tunnel.tunnels import Tunnels
from netvps.gateway.worker.server import WorkerSocket
from netvps.gateway.worker.wire import Welcome
from netvps.process import clock
from netvps.process.account import local_users, user_name
from netvps.programs.wiring.apps import Apps, start_apps
from netvps.programs.wiring.gateway_process import GatewayProcess
from netvps.programs.wiring.health import ControlPlaneHealth, enter_store
from netvps.programs.wiring.measuring import ControlPlaneCounts, MetricsPage
from netvps.programs.wiring.network.mesh import start_mesh
from netvps.programs.wiring.network.served_names import served_names
from netvps.programs.wiring.network.tunnel_front import start_front
from netvps.programs.wiring.upkeep import compact, expiring
from netvps.rpc.convert.runner.netmap import encoded
from netvps.rpc.server.listeners import Addresses, Certificate
from netvps.rpc.server.open_calls import CallLimits
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
from netvps.services.copies.copies import Copies
from netvps.services.feed import Feed
from netvps.services.images.ahead import ImagesAhead
from netvps.services.images.default_image import DefaultImages
from netvps.services.images.holdings import ImageHoldings
from netvps.services.images.images import Images
from netvps.services.images.registries import Registries
from netvps.services.metrics import Metrics
from netvps.services.moves.moves import Moves
from netvps.services.network.gateway_location import GatewayLocation
from netvps.services.network.netmap import NetmapHub
from netvps.services.network.network import Network
from netvps.services.runners.certificates import Certificates
from netvps.services.runners.joining import Joining
from netvps.services.runners.leases import require_in_pool
from netvps.services.runners.runners import Runners
from netvps.services.scheduling.leases import Leases
from netvps.services.scheduling.reservations import Reservations
from netvps.services.sessions.assignments import follow
from netvps.services.sessions.progress import Progress
from netvps.services.sessions.sessions import Sessions
from netvps.services.sessions.watch import Watch
from netvps.services.sharing.changes import report_access_changes
from netvps.services.sharing.guard import ShareGuard
from netvps.services.sharing.shares import Shares
from netvps.services.sleep.rules import IdleRules
from netvps.services.sleep.self_service import SelfServices
from netvps.services.snapshots.clones import Clones
from netvps.services.snapshots.files import SnapshotFiles
from netvps.services.snapshots.schedule import SnapshotSchedule
from netvps.services.snapshots.snapshots import Snapshots
from netvps.services.snapshots.take import Limits
from netvps.services.tasks.scheduler import TaskScheduler
from netvps.services.tasks.tasks import Tasks as TaskUseCases
from netvps.tasks import Tasks
from netvps.timing import observe_durations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from netvps.adapters.ca.authority import Authority
    from netvps.adapters.oidc.issuer import Issuer
    from netvps.adapters.store.store import SqlStore
    from netvps.gateway.tunnel.front import Front
    from netvps.rpc.mesh.mesh import Mesh
    from netvps.settings import ServerSettings

_CALLS_GRACE: Final = 5.0
"""Seconds that running calls get to end; runners and watchers are asked to reconnect."""


@dataclass(frozen=True, slots=True)
class ControlPlane:
    """The running parts of a control plane."""

    store: SqlStore
    api: ApiServer
    ssh: GatewayProcess
    apps: GatewayProcess
    http: HttpGateway
    tunnels: Tunnels
    front: Front | None

    async def stop(self) -> None:
        """Stops accepting, gives SSH connections their time to end, then ends the rest with a reason."""
        self.http.stop()
        self.tunnels.drain()
        await asyncio.gather(self.ssh.stop(), self.apps.stop())
        if self.front is not None:
            self.front.stop_accepting()
        await self.api.stop(_CALLS_GRACE)


@asynccontextmanager
async def build(settings: ServerSettings, *, give_up: asyncio.Event | None = None) -> AsyncIterator[ControlPlane]:
    """A control plane that listens. Its end is abrupt: call `stop` before for a graceful shutdown.

    With `give_up` it waits for a database that is unavailable until that is set, and is not ready meanwhile. Raises
    ConfigError if the database, the CA or an address is not available.
    """
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(HttpGateway(host=settings.listen, port=settings.http_port))
        store = await enter_store(stack, settings, http, give_up)
        cluster_id = await store.cluster_id()
        async with store.read() as reader:
            joined = await reader.page(Runner, "", 1)
            await require_in_pool(reader, settings.overlay_pool)
        names = await asyncio.to_thread(served_names, settings.public_names, settings.listen)
        ca = await asyncio.to_thread(open_ca, settings.paths.state / "ca", cluster_id, clock.now, trusted=bool(joined))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        overlay = settings.overlay_pool, settings.overlay_vni, settings.overlay_port
        feed, overlay_settings = Feed(store), OverlaySettings(cluster_id, *overlay)
        progress = Progress(store, feed)
        copies = Copies(store, clock.now, default=settings.snapshot_copies)
        holdings = ImageHoldings()
        moves = Moves(store, clock.now, clock.new_uid, copies, images=holdings)
        default_images = DefaultImages(store, clock.now, feed, settings.default_image)
        key_uses = KeyUseLog(store)
        audit = AuditLog(store, clock.now, timedelta(days=settings.audit_days))
        shares = Shares(store, clock.now, feed)
        await shares.expire()  # before anyone is let in
        netmap = NetmapHub(store, feed, overlay_settings, encoded)
        quotas = Quotas(settings.quota_of_roles)
        scheduler = TaskScheduler(store, clock.now, holdings, quotas)
        location = GatewayLocation(store, clock.now, netmap, partial(link_mac, OBJECT_NAMES.device))
        background = [
            tasks.create_task(feed.run(), name="feed"),
            tasks.create_task(netmap.run(), name="netmap"),
            tasks.create_task(progress.run(), name="progress"),
            tasks.create_task(copies.run(), name="copies"),
            tasks.create_task(moves.run(feed), name="moves"),
            tasks.create_task(scheduler.run(feed), name="scheduler of tasks"),
            tasks.create_task(default_images.run(), name="default image"),
            tasks.create_task(location.run(), name="gateway's location"),
            tasks.create_task(compact(store), name="compaction"),
            tasks.create_task(audit.run(), name="audit log"),
            tasks.create_task(key_uses.run(), name="last uses of API keys"),
            tasks.create_task(shares.run(), name="ends of shares"),
        ]
        for task in background:
            stack.callback(task.cancel)
        views = (feed, progress, copies, moves, default_images, netmap, overlay_settings, location, names)
        yield await _Parts(settings, store, ca, *views, audit, key_uses, holdings, shares, quotas).listen(stack, http)


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts from which the listeners are built."""

    settings: ServerSettings
    store: SqlStore
    ca: Authority
    feed: Feed
    progress: Progress
    copies: Copies
    moves: Moves
    default_images: DefaultImages
    netmap: NetmapHub
    overlay_settings: OverlaySettings
    location: GatewayLocation
    names: tuple[str, ...]
    audit: AuditLog
    key_uses: KeyUseLog
    holdings: ImageHoldings
    shares: Shares
    quotas: Quotas

    async def listen(self, stack: AsyncExitStack, http: HttpGateway) -> ControlPlane:
        """Starts the gateway, then the API, so that the API never listens without a gateway."""
        settings = self.settings
        # The terminal UI is a package of its own, which an installation may lack.
        terminal_ui = settings.terminal_ui and find_spec("netvps_tui") is not None
        logins = Logins(self.store, clock.now, self.ca, self.feed, self.quotas)
        rules = IdleRules(self.store, clock.now, SleepDefaults(settings.idle_pause, settings.idle_stop))
        snapshots = Snapshots(self.store, clock.now, clock.new_uid, self._limits(), self.copies)
        inside = SelfServices(self.store, clock.now, rules, snapshots)
        tunnels = await stack.enter_async_context(Tunnels(logins, inside))
        changes = await stack.enter_async_context(Tasks())
        changes.start(report_access_changes(self.feed, tunnels.access_changed), name="changes of access")
        dialer = await stack.enter_async_context(Dialer(tunnels, self.location.locate))
        upstream = AgentLogin(logins, self.ca.ssh_host_ca)
        welcome = Welcome(
            self.ca.ssh_host_key,
            self.ca.ssh_host_ca,
            self.ca.ssh_user_ca,
            settings.ssh_connections_per_user,
            settings.ssh_connections_per_session,
            str(settings.paths.api_socket) if terminal_ui else "",
            tuple(settings.ssh_balancers.split(",")) if settings.ssh_balancers else (),
        )
        control, tickets = settings.paths.gateway_socket, SshTickets(logins, clock.now)
        locate, note = self.location.locate, self.audit.note
        socket = WorkerSocket(control, logins, tunnels, locate, welcome, tickets=tickets, audit=note)
        worker = await stack.enter_async_context(socket)
        ssh = GatewayProcess.at(settings.listen, settings.ssh_port, control, worker, settings.drain)
        await stack.enter_async_context(ssh)
        access = Access(self.store, clock.now, self.key_uses.note, self.quotas)
        apps = await start_apps(stack, settings, worker, access, store=self.store, feed=self.feed, vault=self.ca.vault)
        commands = Commands(dialer, upstream, logins)
        rules.running_commands = lambda uid: commands.running(uid) + tunnels.relayed_commands(uid)
        oidc = OidcLogins(self.store, clock.now, clock.new_uid, self.ca.vault, await _issuer(stack, settings))
        services = await self._services(worker, commands, rules, snapshots, access=access, apps=apps, oidc_logins=oidc)
        own = self.ca.server_certificate(self.names)
        behind = Behind(own.certificate, own.key, self.ca.certificate, control.with_name("link.sock"))
        front = await start_front(stack, settings.listen, settings.link_port, behind, tunnels)
        link = f"unix:{behind.socket}" if front else _address(settings.listen, settings.link_port)
        meshed = await start_mesh(stack, settings, self.store, self.ca, self.names, tunnels=tunnels)
        api = await stack.enter_async_context(
            self._api(services, link, Certificate(own.certificate, own.key, self.ca.certificate), meshed and meshed[0])
        )
        if front is not None:
            front.serve()
        if meshed is not None:
            changes.start(meshed[1].run(), name="lease of this server")
        worker.browse = partial(_browse, services, api)
        wanted = [ImageAhead.parse(one) for one in settings.images_ahead.split(",") if one]
        ahead = ImagesAhead(self.store, services.images, self.holdings, wanted)
        tasks = await stack.enter_async_context(Tasks())
        tasks.start(ahead.run(api.files_here), name="images ahead")
        schedule = SnapshotSchedule(self.store, clock.now, clock.new_uid, settings.snapshot_copies)
        await stack.enter_async_context(expiring(services.snapshots, services.snapshot_files, schedule))
        sleeping = await stack.enter_async_context(Tasks())
        sleeping.start(rules.run(tunnels.inform), name="idle rules")
        page = MetricsPage(ControlPlaneCounts(self.store, self.feed, services.watch, tunnels, worker, api).read)
        stack.enter_context(observe_durations(page.metrics.observe_duration))
        health = ControlPlaneHealth(self.store, services.access, ssh)
        http.serve(health.checks(), page, health)
        return ControlPlane(self.store, api, ssh, apps.process, http, tunnels, front)

    @property
    def registration(self) -> Registration:
        """Who may make an account for themselves."""
        return Registration(self.settings.registration.upper())

    async def _services(
        self,
        worker: WorkerSocket,
        commands: Commands,
        idle_rules: IdleRules,
        snapshots: Snapshots,
        *,
        access: Access,
        apps: Apps,
        oidc_logins: OidcLogins,
    ) -> Services:
        settings, store, ca, quotas = self.settings, self.store, self.ca, self.quotas
        await access.ensure_admin(user_name())
        mode = self.registration
        sessions = partial(Sessions, store, clock.now, clock.new_uid, settings.default_image, self.progress.shown)
        return Services(
            sessions=sessions(images=self.holdings, placement=Placement(settings.placement.upper()), quotas=quotas),
            snapshots=snapshots,
            idle_rules=idle_rules,
            copies=self.copies,
            moves=self.moves,
            images=Images(store, self.default_images, self.holdings),
            default_images=self.default_images,
            registries=Registries(store, clock.now, ca.vault),
            clones=Clones(store, clock.now, clock.new_uid, settings.snapshot_copies, quotas),
            snapshot_files=SnapshotFiles(store, clock.now, clock.new_uid, self._limits()),
            watch=Watch(store, self.feed, clock.now),
            runners=Runners(
                store,
                clock.now,
                ca,
                progress=self.progress,
                overlay_settings=self.overlay_settings,
                heartbeat_interval=settings.heartbeat_interval,
                rows=self.netmap.runner,
                copies=settings.snapshot_copies,
                images=self.holdings,
            ),
            joining=Joining(store, clock.now, clock.new_uid, ca, self.overlay_settings, settings.overlay_prefix),
            assignments=partial(follow, store, self.feed),
            netmap=self.netmap,
            network=Network(store, self.netmap, self.overlay_settings, settings.overlay_prefix),
            metrics=Metrics(store, self.feed),
            certificates=Certificates(store, clock.now, ca),
            access=access,
            key_uses=self.key_uses,
            ssh_keys=SshKeys(store, clock.now, clock.new_uid),
            ssh_certificates=SshCertificates(clock.now, ca),
            ssh_tickets=worker.tickets,
            invitations=Invitations(store, clock.now, ca, mode),
            registrations=Registrations(store, clock.now, clock.new_uid, ca, mode),
            oidc_logins=oidc_logins,
            shares=self.shares,
            leases=Leases(store, clock.now),
            reservations=Reservations(store, clock.now, clock.new_uid),
            tasks=TaskUseCases(store, clock.now, clock.new_uid, settings.default_image, quotas=quotas, feed=self.feed),
            share_guard=ShareGuard(store, clock.now, self.feed),
            urls=apps.urls,
            stored_urls=apps.stored,
            ui_tokens=worker.ui_tokens,
            audit=self.audit,
            tunnels=worker.tunnels,
            commands=commands,
            info=self._info,
        )

    def _limits(self) -> Limits:
        settings = self.settings
        return Limits(settings.snapshots_per_session, settings.snapshots_per_user, settings.snapshot_copies)

    def _api(self, services: Services, link: str, certificate: Certificate, mesh: Mesh | None) -> ApiServer:
        settings = self.settings
        return ApiServer(
            services,
            Addresses(settings.paths.api_socket, _address(settings.listen, settings.api_port), link),
            certificate,
            local_users(),
            settings.heartbeat_interval,
            limits=CallLimits(
                settings.calls_per_user,
                settings.watches_per_user,
                settings.log_readers_per_user,
                settings.commands_per_user,
            ),
            mesh=mesh,
        )

    def _info(self) -> ServerInfo:
        """Addresses without a host: the client uses the host that it connected to."""
        return ServerInfo(
            version=__version__,
            cluster_id=self.overlay_settings.cluster_id,
            ca_certificate=self.ca.certificate,
            ssh_address=f":{self.settings.ssh_port}",
            ssh_host_key=self.ca.ssh_host_public_key,
            ssh_host_ca=self.ca.ssh_host_ca,
            link_address=f":{self.settings.link_port}",
            default_image=self.default_images.current,
            names=self.names,
            registration=self.registration,
            api_address=f":{self.settings.api_port}",
            oidc_issuer=self.settings.oidc_issuer,
        )


async def _issuer(stack: AsyncExitStack, settings: ServerSettings) -> Issuer | None:
    """The issuer whose accounts may log in, if there is one."""
    if settings.login_rules is None:
        return None
    from netvps.adapters.oidc.issuer import Issuer  # its library takes 25 ms to import

    return await stack.enter_async_context(Issuer(settings.login_rules, settings.read_oidc_secret))


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ipaddress.ip_address(host).version == 6 else f"{host}:{port}"  # noqa: PLR2004 — IPv6


@asynccontextmanager
async def _browse(
    services: Services, api: ApiServer, user: str, session: str, incoming: AsyncIterator[bytes]
) -> AsyncIterator[AsyncIterator[bytes]]:
    """Shows the gateway's users the snapshots of a session."""
    caller = await services.access.caller_of(user)
    async with services.snapshot_files.browse(caller, session, incoming, api.files) as answers:
        yield answers
