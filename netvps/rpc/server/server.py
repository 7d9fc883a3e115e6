"""The control plane's three listeners: the local socket, the API for people, the link for machines.

| listener | callers, authentication | services |
|---|---|---|
| Unix socket | accounts of this machine, peer credentials | user services |
| :7443 TLS | people and programs, API key | user services; enrollment, with a token in the request |
| :7444 mTLS | runners, agents, other servers, certificate | link, tunnel, certificates, mesh |

The first two also serve health and reflection, without a credential. Sessions can connect to the third, so TLS itself
requires a certificate of the cluster's CA there, and only the services for runners and agents are available.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Self

from netvps.api.v1 import audit_pb2_grpc as audit
from netvps.api.v1 import copy_pb2_grpc as copy
from netvps.api.v1 import enrollment_pb2_grpc as enrollment
from netvps.api.v1 import image_pb2_grpc as image
from netvps.api.v1 import lease_pb2_grpc as lease
from netvps.api.v1 import link_pb2_grpc as link
from netvps.api.v1 import login_pb2_grpc as login
from netvps.api.v1 import mesh_pb2_grpc as mesh_grpc
from netvps.api.v1 import metrics_pb2_grpc as metrics
from netvps.api.v1 import move_pb2_grpc as move
from netvps.api.v1 import network_pb2_grpc as network
from netvps.api.v1 import registration_pb2_grpc as registration
from netvps.api.v1 import registry_pb2_grpc as registry
from netvps.api.v1 import runner_pb2_grpc as runner
from netvps.api.v1 import server_pb2_grpc as server
from netvps.api.v1 import session_pb2_grpc as session
from netvps.api.v1 import share_pb2_grpc as share
from netvps.api.v1 import snapshot_pb2_grpc as snapshot
from netvps.api.v1 import ssh_key_pb2_grpc as ssh_key
from netvps.api.v1 import task_pb2_grpc as task
from netvps.api.v1 import tunnel_pb2_grpc as tunnel
from netvps.api.v1 import url_pb2_grpc as url
from netvps.api.v1 import user_pb2_grpc as user
from netvps.rpc.mesh.passing import Passing
from netvps.rpc.mesh.runners import MeshRunners
from netvps.rpc.server import authenticators
from netvps.rpc.server.call_audit import CallAudit
from netvps.rpc.server.listeners import KEEPALIVE_MS, PATIENT_MS, Listener, tls
from netvps.rpc.server.local_socket import LocalSocket, private_folder
from netvps.rpc.server.open_calls import OpenCalls
from netvps.rpc.server.runners.probes import StreamedProbes
from netvps.rpc.server.runners.runner_metrics import StreamedMetrics
from netvps.rpc.server.runners.runner_streams import RunnerStreams
from netvps.rpc.server.runners.session_files import FilesHere, StreamedFiles
from netvps.rpc.server.runners.session_logs import StreamedLogs
from netvps.rpc.servicers.certificates import CertificateServicer
from netvps.rpc.servicers.copies import CopyServicer, StreamedCopies
from netvps.rpc.servicers.enrollment import EnrollmentServicer
from netvps.rpc.servicers.http.urls import UrlServicer
from netvps.rpc.servicers.images.images import ImageServicer
from netvps.rpc.servicers.images.registries import RegistryServicer
from netvps.rpc.servicers.link import LinkServicer
from netvps.rpc.servicers.mesh import MeshServicer
from netvps.rpc.servicers.metrics import MetricsServicer
from netvps.rpc.servicers.moves import MoveServicer
from netvps.rpc.servicers.network import NetworkServicer
from netvps.rpc.servicers.people.audit import AuditServicer
from netvps.rpc.servicers.people.logins import LoginServicer
from netvps.rpc.servicers.people.registration import RegistrationServicer
from netvps.rpc.servicers.people.shares import ShareServicer
from netvps.rpc.servicers.people.ssh_keys import SshKeyServicer
from netvps.rpc.servicers.people.users import UserServicer
from netvps.rpc.servicers.runners import RunnerServicer
from netvps.rpc.servicers.scheduling.leases import LeaseServicer
from netvps.rpc.servicers.scheduling.tasks import TaskServicer
from netvps.rpc.servicers.server_info import ServerInfoServicer
from netvps.rpc.servicers.sessions import SessionServicer
from netvps.rpc.servicers.snapshots import SnapshotServicer
from netvps.rpc.servicers.tunnel import TunnelServicer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from netvps.rpc.mesh.mesh import Mesh
    from netvps.rpc.server.listeners import Addresses, Certificate, Registration
    from netvps.rpc.server.open_calls import CallLimits
    from netvps.rpc.server.services import Services

_PACKAGE = "netvps.api.v1"
_API_MESSAGE = 4 << 20
"""In bytes; large enough that a session with too much environment gets netvps's error and not the transport's."""
_LINK_MESSAGE = 512 * 1024
"""In bytes: twice the largest data frame; a report of 256 links is smaller."""


class ApiServer:
    """Starts all listeners on entry and aborts them on exit; call `stop` before for a graceful shutdown.

    `local_users` maps the accounts (uid) that may use the local socket to users. `mesh` has the other servers.
    """

    def __init__(
        self,
        services: Services,
        addresses: Addresses,
        certificate: Certificate,
        local_users: Mapping[int, str],
        heartbeat_interval: float = 5.0,
        *,
        limits: CallLimits | None = None,
        mesh: Mesh | None = None,
    ) -> None:
        self._services = services
        self._addresses = addresses
        self._certificate = certificate
        self._local_users = local_users
        self._calls = OpenCalls(limits)
        self._mesh = mesh
        self._passing = None if mesh is None else Passing(mesh)
        self._audit = CallAudit(services.audit)
        self._streams = RunnerStreams(services.runners, heartbeat_interval)
        self._streams.elsewhere = None if mesh is None else MeshRunners(mesh)
        self._logs = StreamedLogs(self._streams)
        self.files = StreamedFiles(self._streams)
        """Connects to runners for work with files."""
        self.files_here = FilesHere(self.files, self._streams)
        """The same for the runners of this server."""
        self._probes = StreamedProbes(self._streams)
        self._copies = StreamedCopies(self._streams)
        self._metrics = StreamedMetrics(self._streams)
        self._listeners: list[Listener] = []
        self._local: LocalSocket | None = None
        self._socket_behind: Path | None = None
        self.api_port = 0
        """The port of the API, once it listens."""
        self.link_port = 0
        """The port of the link, once it listens."""

    @property
    def runner_links(self) -> int:
        """Number of connected runners."""
        return len(self._streams)

    async def __aenter__(self) -> Self:
        """Listens on all addresses, or on none. Raises ConfigError for one that is not available."""
        await self._streams.__aenter__()
        await self._metrics.__aenter__()
        try:
            await self._bind()
            for listener in self._listeners:
                await listener.start()
            if self._local is not None:
                await self._local.start()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop(0)
        await self._metrics.__aexit__()
        await self._streams.__aexit__()

    async def stop(self, grace: float) -> None:
        """Stops in two stages: accepts nothing new and asks runners to reconnect; after `grace` seconds aborts calls.

        Idempotent.
        """
        if self._local is not None:
            await self._local.stop_accepting()
        for listener in self._listeners:
            await listener.drain()
        self._streams.end_all("the control plane is stopping: connect again")
        await asyncio.gather(*(listener.stop(grace) for listener in self._listeners))
        self._listeners.clear()
        if self._local is not None:
            await self._local.close()
        if self._socket_behind is not None:
            with suppress(OSError):  # gRPC removes its socket; a leftover folder is harmless
                self._socket_behind.parent.rmdir()

    async def _bind(self) -> None:
        addresses, certificate = self._addresses, self._certificate
        if addresses.socket is not None:
            behind = private_folder(addresses.socket) / "grpc.sock"
            local = LocalSocket(addresses.socket, behind)
            await local.claim()  # before gRPC binds its socket, which may belong to another server
            self._local, self._socket_behind = local, behind
            known = authenticators.PeerCredentials(self._services.access, self._local_users, self._services.ui_tokens)
            listener = self._listen("socket", known, self._for_people())
            listener.bind(f"unix:{behind}")
        if addresses.api is not None:
            keys = authenticators.ApiKeys(self._services.access)
            listener = self._listen("API", keys, self._for_people())
            self.api_port = listener.bind(addresses.api, tls(certificate.certificate, certificate.key))
        if addresses.link is not None:
            listener = self._listen(
                "runner link",
                authenticators.Certificates(),
                self._for_machines(),
                _LINK_MESSAGE,
                system=False,
                keepalive_ms=PATIENT_MS,
                passing=self._passing,
            )
            credentials = tls(certificate.certificate, certificate.key, client_ca=certificate.ca)
            self.link_port = listener.bind(addresses.link, credentials)

    def _listen(
        self,
        setting: str,
        known_by: authenticators.Authenticator,
        services: dict[str, Registration],
        max_message: int = _API_MESSAGE,
        *,
        system: bool = True,
        keepalive_ms: int = KEEPALIVE_MS,
        passing: Passing | None = None,
    ) -> Listener:
        listener = Listener(
            setting,
            known_by,
            services,
            self._calls,
            self._audit,
            max_message=max_message,
            system=system,
            keepalive_ms=keepalive_ms,
            passing=passing,
        )
        self._listeners.append(listener)
        return listener

    def _for_people(self) -> dict[str, Registration]:
        given = self._services
        sessions = SessionServicer(
            given.sessions, given.idle_rules, given.watch, self._logs, given.commands, guard=given.share_guard
        )
        snapshots = SnapshotServicer(given.snapshots, given.clones, given.watch, given.snapshot_files, self.files)
        tasks = TaskServicer(given.tasks, self._logs)
        enroll = EnrollmentServicer(given.joining, given.certificates, self._certificate.ca)
        return {
            f"{_PACKAGE}.SessionService": partial(session.add_SessionServiceServicer_to_server, sessions),
            f"{_PACKAGE}.SnapshotService": partial(snapshot.add_SnapshotServiceServicer_to_server, snapshots),
            f"{_PACKAGE}.MoveService": partial(move.add_MoveServiceServicer_to_server, MoveServicer(given.moves)),
            f"{_PACKAGE}.ImageService": partial(
                image.add_ImageServiceServicer_to_server,
                ImageServicer(given.images, given.default_images, self.files),
            ),
            f"{_PACKAGE}.RegistrationService": partial(
                registration.add_RegistrationServiceServicer_to_server,
                RegistrationServicer(given.invitations, given.registrations),
            ),
            f"{_PACKAGE}.LoginService": partial(
                login.add_LoginServiceServicer_to_server, LoginServicer(given.oidc_logins)
            ),
            f"{_PACKAGE}.RegistryService": partial(
                registry.add_RegistryServiceServicer_to_server, RegistryServicer(given.registries)
            ),
            f"{_PACKAGE}.RunnerService": partial(
                runner.add_RunnerServiceServicer_to_server, RunnerServicer(given.runners)
            ),
            f"{_PACKAGE}.NetworkService": partial(
                network.add_NetworkServiceServicer_to_server,
                NetworkServicer(given.network, self._probes, given.reservations),
            ),
            f"{_PACKAGE}.MetricsService": partial(
                metrics.add_MetricsServiceServicer_to_server, MetricsServicer(given.metrics, self._metrics)
            ),
            f"{_PACKAGE}.UserService": partial(
                user.add_UserServiceServicer_to_server, UserServicer(given.access, given.key_uses)
            ),
            f"{_PACKAGE}.SshKeyService": partial(
                ssh_key.add_SshKeyServiceServicer_to_server,
                SshKeyServicer(given.ssh_keys, given.ssh_certificates, given.ssh_tickets),
            ),
            f"{_PACKAGE}.ShareService": partial(share.add_ShareServiceServicer_to_server, ShareServicer(given.shares)),
            f"{_PACKAGE}.UrlService": partial(
                url.add_UrlServiceServicer_to_server, UrlServicer(given.urls, given.stored_urls)
            ),
            f"{_PACKAGE}.LeaseService": partial(lease.add_LeaseServiceServicer_to_server, LeaseServicer(given.leases)),
            f"{_PACKAGE}.TaskService": partial(task.add_TaskServiceServicer_to_server, tasks),
            f"{_PACKAGE}.AuditService": partial(audit.add_AuditServiceServicer_to_server, AuditServicer(given.audit)),
            f"{_PACKAGE}.ServerService": partial(
                server.add_ServerServiceServicer_to_server, ServerInfoServicer(given.info)
            ),
            f"{_PACKAGE}.EnrollmentService": partial(enrollment.add_EnrollmentServiceServicer_to_server, enroll),
        }

    def _for_machines(self) -> dict[str, Registration]:
        given = self._services
        links = LinkServicer(
            given.runners,
            given.netmap,
            self._streams,
            self._logs,
            self._probes,
            assignments=given.assignments,
            metrics=self._metrics,
            files=self.files,
            copies=given.copies,
            tasks=given.tasks,
            registries=given.registries,
            ca_certificate=self._certificate.ca,
        )
        served: dict[str, Registration] = {
            f"{_PACKAGE}.RunnerLinkService": partial(link.add_RunnerLinkServiceServicer_to_server, links),
            f"{_PACKAGE}.CopyService": partial(
                copy.add_CopyServiceServicer_to_server,
                CopyServicer(given.copies, self._copies, images=given.images.sources, carrier=self.files),
            ),
            f"{_PACKAGE}.TunnelService": partial(
                tunnel.add_TunnelServiceServicer_to_server, TunnelServicer(given.tunnels)
            ),
            f"{_PACKAGE}.CertificateService": partial(
                enrollment.add_CertificateServiceServicer_to_server, CertificateServicer(given.certificates)
            ),
        }
        if self._mesh is not None and self._passing is not None:
            servicer = MeshServicer(
                self._mesh,
                self._passing,
                self._streams,
                self._probes,
                metrics=self._metrics,
                tunnels=given.tunnels,
            )
            served[f"{_PACKAGE}.MeshService"] = partial(mesh_grpc.add_MeshServiceServicer_to_server, servicer)
        return served
