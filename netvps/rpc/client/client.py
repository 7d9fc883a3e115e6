"""The API for Python programs, synchronous: domain values in and out, errors from netvps.errors.

Every command of the CLI imports it, so it depends only on grpc, protobuf and small modules of netvps. What few commands
need is imported inside the methods: together that would take a tenth of the start time of the others.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self

from google.protobuf.field_mask_pb2 import FieldMask

from netvps.api.v1 import network_pb2, runner_pb2, server_pb2, session_change_pb2, session_pb2, ssh_key_pb2, user_pb2
from netvps.api.v1.network_pb2_grpc import NetworkServiceStub
from netvps.api.v1.runner_pb2_grpc import RunnerServiceStub
from netvps.api.v1.server_pb2_grpc import ServerServiceStub
from netvps.api.v1.session_pb2_grpc import SessionServiceStub
from netvps.api.v1.ssh_key_pb2_grpc import SshKeyServiceStub
from netvps.api.v1.user_pb2_grpc import UserServiceStub
from netvps.domain.session.event import EventType, SessionEvent
from netvps.errors import InvalidInput
from netvps.rpc.client.channel import Endpoint
from netvps.rpc.client.transport import Transport
from netvps.rpc.convert import names
from netvps.rpc.convert.server_info import server_info_from_proto
from netvps.rpc.convert.session.events import event_from_proto
from netvps.rpc.convert.session.sessions import session_from_proto, spec_to_proto
from netvps.rpc.convert.times import time_from_proto, time_to_proto

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Sequence
    from datetime import datetime

    from netvps.domain.access.accounts import ApiKey, Role, SshKey, User
    from netvps.domain.finding import Finding
    from netvps.domain.overlay.fabric import Overview
    from netvps.domain.overlay.path import Path
    from netvps.domain.runner.runner import RunnerView
    from netvps.domain.server import ServerInfo
    from netvps.domain.session.exec import ExecStart, FromCommand, ToCommand
    from netvps.domain.session.session import Session, SessionSpec

__all__ = ["Client", "Endpoint", "EventType", "SessionEvent", "fetch_server_info"]


def fetch_server_info(address: str) -> ServerInfo:
    """As netvps.rpc.client.trust.fetch_server_info. Imported on demand, because it imports ssl."""
    from netvps.rpc.client import trust

    return trust.fetch_server_info(address)


class Client:
    """A connection to one server, opened at the first call. A context manager.

    Sessions are named NAME or NAME.OWNER, users NAME or "me", runners NAME. Each mutation gets its own request id, so
    that a retry after a lost answer has no second effect. Raises the errors that the server reports; also Unavailable,
    TimedOut and Unauthenticated if the server cannot be reached or trusted.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._transport = Transport(endpoint)
        channel = self._transport.channel
        self._server = ServerServiceStub(channel)
        self._sessions = SessionServiceStub(channel)
        self._runners = RunnerServiceStub(channel)
        self._network = NetworkServiceStub(channel)
        self._users = UserServiceStub(channel)
        self._ssh_keys = SshKeyServiceStub(channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection and all streams. Idempotent."""
        self._transport.close()

    def server_info(self) -> ServerInfo:
        """Public information about the server."""
        return server_info_from_proto(
            self._transport.call(self._server.GetServerInfo, server_pb2.GetServerInfoRequest())
        )

    def create_session(
        self, session_id: str, spec: SessionSpec, *, owner: str = "", validate_only: bool = False
    ) -> Session:
        """Creates a session; an empty id lets the server choose a name, an empty owner is the caller."""
        request = session_pb2.CreateSessionRequest(
            session_id=session_id,
            owner=names.user_name(owner) if owner else "",
            spec=spec_to_proto(spec),
            request_id=_request_id(),
            validate_only=validate_only,
        )
        return session_from_proto(self._transport.call(self._sessions.CreateSession, request))

    def get_session(self, name: str) -> Session:
        """One session."""
        request = session_pb2.GetSessionRequest(name=names.session_name(name))
        return session_from_proto(self._transport.call(self._sessions.GetSession, request))

    def list_sessions(self, parent: str = "") -> Iterator[Session]:
        """Sessions by name: of the caller (''), of a user, or all that the caller may see ('-')."""
        request = session_pb2.ListSessionsRequest(parent=_parent(parent))
        for page in self._transport.pages(self._sessions.ListSessions, request):
            yield from map(session_from_proto, page.sessions)

    def stop_session(self, name: str, *, expected_revision: int = 0) -> Session:
        """Requests a stop with a snapshot."""
        request = session_pb2.StopSessionRequest(
            name=names.session_name(name), request_id=_request_id(), expected_revision=expected_revision
        )
        return session_from_proto(self._transport.call(self._sessions.StopSession, request))

    def start_session(self, name: str, *, expected_revision: int = 0) -> Session:
        """Requests a start, or retries a failed one."""
        request = session_pb2.StartSessionRequest(
            name=names.session_name(name), request_id=_request_id(), expected_revision=expected_revision
        )
        return session_from_proto(self._transport.call(self._sessions.StartSession, request))

    def pause_session(self, name: str, *, expected_revision: int = 0) -> Session:
        """Requests that a running session is frozen."""
        request = session_change_pb2.PauseSessionRequest(
            name=names.session_name(name), request_id=_request_id(), expected_revision=expected_revision
        )
        return session_from_proto(self._transport.call(self._sessions.PauseSession, request))

    def resume_session(self, name: str, *, expected_revision: int = 0) -> Session:
        """Requests that a paused session runs on."""
        request = session_change_pb2.ResumeSessionRequest(
            name=names.session_name(name), request_id=_request_id(), expected_revision=expected_revision
        )
        return session_from_proto(self._transport.call(self._sessions.ResumeSession, request))

    def rename_session(self, name: str, session_id: str, *, expected_revision: int = 0) -> Session:
        """Gives a session another NAME; its owner stays."""
        request = session_change_pb2.RenameSessionRequest(
            name=names.session_name(name),
            session_id=session_id,
            request_id=_request_id(),
            expected_revision=expected_revision,
        )
        return session_from_proto(self._transport.call(self._sessions.RenameSession, request))

    def update_session(
        self, name: str, spec: SessionSpec, fields: Iterable[str], *, expected_revision: int = 0
    ) -> Session:
        """Takes these fields of a session's spec (`UPDATABLE`) from `spec`."""
        request = session_pb2.UpdateSessionRequest(
            session=session_pb2.Session(name=names.session_name(name), spec=spec_to_proto(spec)),
            update_mask=FieldMask(paths=[f"spec.{field}" for field in sorted(fields)]),
            request_id=_request_id(),
            expected_revision=expected_revision,
        )
        return session_from_proto(self._transport.call(self._sessions.UpdateSession, request))

    def delete_session(self, name: str, *, expected_revision: int = 0) -> Session:
        """Deletes a session with its container and snapshots."""
        request = session_pb2.DeleteSessionRequest(
            name=names.session_name(name), request_id=_request_id(), expected_revision=expected_revision
        )
        return session_from_proto(self._transport.call(self._sessions.DeleteSession, request))

    def watch_sessions(self, parent: str = "", from_revision: int = 0) -> Generator[SessionEvent, None, None]:
        """Yields the list (or the changes since a revision), CAUGHT_UP, then changes and progress until closed."""
        request = session_pb2.WatchSessionsRequest(parent=_parent(parent), from_revision=from_revision, progress=True)
        return self._transport.stream(self._sessions.WatchSessions, request, event_from_proto)

    def read_logs(
        self, name: str, tail_lines: int = 0, follow: bool = False, *, since: datetime | None = None
    ) -> Generator[bytes, None, None]:
        """Yields container output: `tail_lines` before the end (0: the server's default), written after `since`."""
        request = session_pb2.ReadSessionLogsRequest(
            name=names.session_name(name),
            tail_lines=tail_lines,
            follow=follow,
            since_time=time_to_proto(since) if since else None,
        )
        return self._transport.stream(self._sessions.ReadSessionLogs, request, lambda piece: bytes(piece.data))

    def exec(self, start: ExecStart, incoming: Iterator[ToCommand]) -> Generator[FromCommand, None, None]:
        """Runs a command. `incoming` is read on another thread and may block. Exit comes last."""
        from netvps.rpc.convert.session.exec import output_from_proto

        requests = _exec_requests(start, incoming)
        return self._transport.stream(self._sessions.ExecSession, requests, output_from_proto)

    def list_runners(self) -> Iterator[RunnerView]:
        """Runners by name."""
        from netvps.rpc.convert.runner.runners import runner_from_proto

        request = runner_pb2.ListRunnersRequest()
        for page in self._transport.pages(self._runners.ListRunners, request):
            yield from map(runner_from_proto, page.runners)

    def get_runner(self, name: str) -> RunnerView:
        """One runner."""
        from netvps.rpc.convert.runner.runners import runner_from_proto

        request = runner_pb2.GetRunnerRequest(name=names.runner_name(name))
        return runner_from_proto(self._transport.call(self._runners.GetRunner, request))

    def create_join_token(self) -> tuple[str, datetime]:
        """Creates a token that lets one machine join, and returns it with its expiry time."""
        request = runner_pb2.CreateJoinTokenRequest(request_id=_request_id())
        answer = self._transport.call(self._runners.CreateJoinToken, request)
        return answer.join_token, time_from_proto(answer, "expire_time")

    def delete_runner(self, name: str, *, force: bool = False) -> None:
        """Removes a runner; with `force` also the sessions placed on it."""
        request = runner_pb2.DeleteRunnerRequest(name=names.runner_name(name), request_id=_request_id(), force=force)
        self._transport.call(self._runners.DeleteRunner, request)

    def get_network(self) -> Overview:
        """A summary of the overlay."""
        from netvps.rpc.convert.runner.network import overview_from_proto

        return overview_from_proto(self._transport.call(self._network.GetNetwork, network_pb2.GetNetworkRequest()))

    def probe_links(self, runners: Sequence[str] = ()) -> Generator[Path, None, None]:
        """Measures links: all, those of one runner, or those between several. Yields each link once it is measured."""
        from netvps.rpc.convert.runner.network import path_from_proto

        request = network_pb2.ProbeLinksRequest(runners=map(names.runner_name, runners))
        return self._transport.stream(self._network.ProbeLinks, request, path_from_proto)

    def check_network(self, sessions: Sequence[str] = ()) -> list[Finding]:
        """Diagnoses why two sessions do not reach each other, why one reaches no other, or the whole overlay."""
        from netvps.rpc.convert.runner.network import finding_from_proto

        request = network_pb2.CheckNetworkRequest(sessions=map(names.session_name, sessions))
        answer = self._transport.call(self._network.CheckNetwork, request)
        return [finding_from_proto(finding) for finding in answer.findings]

    def get_user(self, name: str = names.ME) -> User:
        """One user."""
        from netvps.rpc.convert.users import user_from_proto

        request = user_pb2.GetUserRequest(name=names.user_name(name))
        return user_from_proto(self._transport.call(self._users.GetUser, request))

    def list_users(self) -> Iterator[User]:
        """Users by name."""
        from netvps.rpc.convert.users import user_from_proto

        for page in self._transport.pages(self._users.ListUsers, user_pb2.ListUsersRequest()):
            yield from map(user_from_proto, page.users)

    def create_user(self, name: str, role: Role) -> User:
        """Adds a user: a person or a program."""
        from netvps.rpc.convert.users import ROLE, user_from_proto

        request = user_pb2.CreateUserRequest(user_id=name, role=ROLE.to_proto(role), request_id=_request_id())
        return user_from_proto(self._transport.call(self._users.CreateUser, request))

    def delete_user(self, name: str) -> User:
        """Removes a user with their keys."""
        from netvps.rpc.convert.users import user_from_proto

        request = user_pb2.DeleteUserRequest(name=names.user_name(name), request_id=_request_id())
        return user_from_proto(self._transport.call(self._users.DeleteUser, request))

    def list_api_keys(self, user: str = names.ME) -> Iterator[ApiKey]:
        """A user's API keys by kid, without their secrets."""
        from netvps.rpc.convert.users import api_key_from_proto

        request = user_pb2.ListApiKeysRequest(parent=names.user_name(user))
        for page in self._transport.pages(self._users.ListApiKeys, request):
            yield from map(api_key_from_proto, page.api_keys)

    def create_api_key(self, user: str = names.ME, *, title: str = "", ttl: float | None = None) -> str:
        """Creates an API key, valid for `ttl` seconds or without expiry; the server does not store its secret."""
        request = user_pb2.CreateApiKeyRequest(parent=names.user_name(user), title=title, request_id=_request_id())
        if ttl is not None:
            request.ttl.FromSeconds(round(ttl))
        return self._transport.call(self._users.CreateApiKey, request).secret

    def delete_api_key(self, name: str) -> None:
        """Revokes the API key "USER/KID"."""
        user, slash, kid = name.partition("/")
        if not slash:
            raise InvalidInput.of("name", f"{name!r} is not USER/KID")
        request = user_pb2.DeleteApiKeyRequest(name=names.api_key_name(user, kid), request_id=_request_id())
        self._transport.call(self._users.DeleteApiKey, request)

    def list_ssh_keys(self, user: str = "") -> Iterator[SshKey]:
        """A user's keys by fingerprint; '' is the caller."""
        from netvps.rpc.convert.ssh_keys import ssh_key_from_proto

        request = ssh_key_pb2.ListSshKeysRequest(parent=names.user_name(user or names.ME))
        for page in self._transport.pages(self._ssh_keys.ListSshKeys, request):
            yield from map(ssh_key_from_proto, page.ssh_keys)

    def create_ssh_key(self, public_key: str, title: str = "", user: str = "") -> SshKey:
        """Registers a key; its title defaults to the key's comment."""
        from netvps.rpc.convert.ssh_keys import ssh_key_from_proto

        request = ssh_key_pb2.CreateSshKeyRequest(
            parent=names.user_name(user or names.ME), public_key=public_key, title=title, request_id=_request_id()
        )
        return ssh_key_from_proto(self._transport.call(self._ssh_keys.CreateSshKey, request))

    def issue_ssh_certificate(self, public_key: str) -> str:
        """A user certificate (OpenSSH form) that logs in to the gateway as the caller for five minutes."""
        request = ssh_key_pb2.IssueSshCertificateRequest(public_key=public_key)
        return self._transport.call(self._ssh_keys.IssueSshCertificate, request).certificate

    def delete_ssh_key(self, uid_or_fingerprint: str, user: str = "") -> SshKey:
        """Revokes a key."""
        from netvps.rpc.convert.ssh_keys import ssh_key_from_proto

        request = ssh_key_pb2.DeleteSshKeyRequest(
            name=names.ssh_key_name(user or names.ME, uid_or_fingerprint), request_id=_request_id()
        )
        return ssh_key_from_proto(self._transport.call(self._ssh_keys.DeleteSshKey, request))


def _request_id() -> str:
    return os.urandom(16).hex()


def _parent(user: str) -> str:
    return names.user_name(user) if user else ""


def _exec_requests(start: ExecStart, incoming: Iterator[ToCommand]) -> Iterator[session_pb2.ExecSessionRequest]:
    from netvps.domain.pieces import pieces
    from netvps.domain.session.exec import Stdin
    from netvps.rpc.convert.session.exec import input_to_proto, start_to_proto

    yield start_to_proto(start)
    for message in incoming:
        if isinstance(message, Stdin):
            for piece in pieces(message.data):
                yield input_to_proto(Stdin(piece))
        else:
            yield input_to_proto(message)
