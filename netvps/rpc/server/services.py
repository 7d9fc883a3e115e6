"""Everything that the listeners serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from netvps.domain.runner.runner import CaughtUp
    from netvps.domain.server import ServerInfo
    from netvps.domain.session.session import Assignment
    from netvps.domain.snapshot.copies import CopyOrder
    from netvps.domain.task.task import TaskOrder
    from netvps.rpc.server.ports import Commands, Tunnels
    from netvps.services.access.accounts import Access
    from netvps.services.access.audit import AuditLog
    from netvps.services.access.invitations import Invitations
    from netvps.services.access.key_uses import KeyUseLog
    from netvps.services.access.oidc_logins import OidcLogins
    from netvps.services.access.registration import Registrations
    from netvps.services.access.ssh_certificates import SshCertificates
    from netvps.services.access.ssh_keys import SshKeys
    from netvps.services.access.ssh_tickets import SshTickets
    from netvps.services.access.terminal_ui import UiTokens
    from netvps.services.copies.copies import Copies
    from netvps.services.http.stored_urls import StoredUrls
    from netvps.services.http.urls import Urls
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
    from netvps.services.sessions.sessions import Sessions
    from netvps.services.sessions.watch import Watch
    from netvps.services.sharing.guard import ShareGuard
    from netvps.services.sharing.shares import Shares
    from netvps.services.sleep.rules import IdleRules
    from netvps.services.snapshots.clones import Clones
    from netvps.services.snapshots.files import SnapshotFiles
    from netvps.services.snapshots.snapshots import Snapshots
    from netvps.services.tasks.tasks import Tasks


@dataclass(frozen=True, slots=True)
class Services:
    """Everything the listeners serve."""

    sessions: Sessions
    idle_rules: IdleRules
    snapshots: Snapshots
    clones: Clones
    snapshot_files: SnapshotFiles
    copies: Copies
    moves: Moves
    images: Images
    default_images: DefaultImages
    registries: Registries
    watch: Watch
    runners: Runners
    joining: Joining
    assignments: Callable[[str], AsyncGenerator[Assignment | CopyOrder | TaskOrder | CaughtUp, None]]
    """A runner's sessions, and orders for copies and tasks, by its uid: all, CaughtUp, then every change."""
    netmap: NetmapHub
    network: Network
    metrics: Metrics
    certificates: Certificates
    access: Access
    key_uses: KeyUseLog
    ssh_keys: SshKeys
    ssh_certificates: SshCertificates
    ssh_tickets: SshTickets
    invitations: Invitations
    registrations: Registrations
    oidc_logins: OidcLogins
    shares: Shares
    leases: Leases
    reservations: Reservations
    tasks: Tasks
    share_guard: ShareGuard
    urls: Urls
    stored_urls: StoredUrls
    ui_tokens: UiTokens
    audit: AuditLog
    tunnels: Tunnels
    commands: Commands
    info: Callable[[], ServerInfo]
