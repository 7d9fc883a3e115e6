"""Interfaces that the use cases require, as Protocols; adapters, rpc and gateway implement them without inheriting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from netvps.domain.access.audit import AuditEvent, AuditQuery, AuditRecord
    from netvps.domain.access.oidc import Claims, DeviceCode, LoginRules, LoginState
    from netvps.domain.filter.kinds import Filter
    from netvps.domain.metrics import Measurement
    from netvps.domain.overlay.peer_health import Link
    from netvps.domain.peer_server import PeerServer
    from netvps.domain.session.exec import Stderr
    from netvps.domain.snapshot.exchange import FilesAnswer, FilesWork
    from netvps.errors import NetvpsError


class Resource(Protocol):
    """A stored object: a frozen dataclass of the domain with a kind, a primary key and a revision."""

    kind: ClassVar[str]

    @property
    def key(self) -> str:
        """Primary key among its kind."""

    @property
    def revision(self) -> int:
        """Global revision of its last change."""


R = TypeVar("R", bound=Resource)
Wanted = str | tuple[str, ...]
"""A value of a column, or several of which one has to match."""
Clock = Callable[[], datetime]
"""Returns the current time in UTC, with a time zone."""


class Reader(Protocol):
    """A consistent view of the store.

    | kind | natural order, and so `position` | columns of `where` |
    |---|---|---|
    | session | name, owner: "NAME.OWNER" | name, owner, runner, state, desired, overlay_address, awaits, |
    | | | moving, gpu_holder, sleep_rule, key_fingerprints |
    | snapshot | session, id: "UID.ID" | session, owner, id, state, lacks |
    | eviction | session, runner: "UID.UID" | session, runner, state |
    | copy | snapshot, runner: "UID.UID" | snapshot, session, runner |
    | runner | name | name, state |
    | user | name | role |
    | ssh_key | fingerprint | fingerprint, owner |
    | share | session, user: "UID.NAME" | session, user, owner |
    | invitation | kid | issuer |
    | external_account | key: "ISSUER SUBJECT" | user |
    | url | key: "UID/PORT", "UID/LINK" or a host | session, owner |
    | credential | kid | purpose, subject, used_by, used_for |
    | lease | cidr | runner |
    | session_lease | session | — |
    | address_reservation | token | user, runner |
    | task | id | array, owner, runner, state, action, gpu_holder |
    | request | request_key | — |
    | default_image | key | — |
    | registry_login | host | — |

    Numeric columns: cpu_claim and memory_claim of a session or a task. A session has several key_fingerprints; a
    condition on that column matches if one of them is equal, and `tally` does not support it. A condition whose value
    is a tuple matches if the column has one of its values.

    The order is by code points, column by column. Any other column in `where` is a bug: ValueError.
    """

    @property
    def revision(self) -> int:
        """The global revision of this view."""

    async def now(self) -> datetime:
        """The database's time, in UTC: one clock for all servers."""

    async def get(self, kind: type[R], key: str) -> R | None:
        """One resource by its primary key."""

    async def find(self, kind: type[R], **where: Wanted) -> list[R]:
        """All resources whose columns match `where`, in the kind's natural order."""

    async def page(
        self,
        kind: type[R],
        after: str,
        limit: int,
        matching: Filter[R] | None = None,
        also: Collection[str] = (),
        /,
        **where: Wanted,
    ) -> list[R]:
        """At most `limit` resources in natural order after a position: that of the last one seen, or ''.

        The resource at that position may be gone by now: the page starts with the one that follows it. `matching`
        selects sessions and runners, and may have another order; it then has the rest of the position. Those with the
        primary keys in `also` need not match `where`.
        """

    async def tally(self, kind: type[Resource], by: str, *sums: str, **where: Wanted) -> dict[str, tuple[int, ...]]:
        """For each value of a column: the number of resources that match `where`, then their sums of numeric columns.

        Much cheaper than finding them.
        """


class Transaction(Reader, Protocol):
    """A view that can be changed; each change is appended to the log. An exception in the block rolls back."""

    async def put(self, resource: R) -> R:
        """Inserts or replaces; returns it with its new revision. Raises AlreadyExists if a unique column is in use."""

    async def delete(self, resource: Resource) -> None:
        """Deletes a resource. Does nothing if it is gone."""


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the log: a resource after its change, or, if `deleted`, in its last state."""

    revision: int
    resource: Resource
    deleted: bool
    actor: str
    time: datetime
    ephemeral: bool = False
    """Not from the log: a transient view of a resource, at the revision up to which the log was read."""


class Store(Protocol):
    """The persistent state, with its log of revisions."""

    def read(self) -> AbstractAsyncContextManager[Reader]:
        """Opens a snapshot to read from."""

    def write(self, actor: str, point: str = "") -> AbstractAsyncContextManager[Transaction]:
        """Opens a transaction; `actor` is recorded in the log. It is committed at the end of the block."""

    async def changes(self, after: int, limit: int) -> list[Change]:
        """Entries of the log after a revision, in order: at most `limit`, and fewer if they are large.

        Raises TooOld if some of them were compacted.
        """

    async def wait(self, after: int) -> None:
        """Returns once the global revision is greater than `after`."""


class AuditStore(Protocol):
    """The stored audit log. What `Store.write` changes for a call is recorded with it (services.auditing)."""

    async def audit(self, events: Iterable[tuple[datetime, AuditEvent]]) -> None:
        """Appends events, in one transaction."""

    async def audited(self, query: AuditQuery) -> list[AuditRecord]:
        """Reads records."""

    async def prune_audit(self, before: datetime) -> int:
        """Deletes the oldest records, a bounded number, and records that; returns their number."""


class KeyUses(Protocol):
    """When API keys were last used; beside the log of revisions, which it would fill."""

    async def note_key_uses(self, uses: Mapping[str, datetime]) -> None:
        """Stores the last use of keys, by kid, in one transaction, unless a later one is stored."""

    async def key_uses(self, kids: Collection[str]) -> dict[str, datetime]:
        """The last uses of keys that have one, by kid."""


class ServerRows(Protocol):
    """The running servers of the database, each with a lease by the database's clock; beside the log of revisions."""

    async def renew_server(self, own: PeerServer, lease: timedelta) -> list[PeerServer]:
        """Stores that a server runs for another `lease`; returns the other ones whose lease has not ended."""

    async def forget_server(self, uid: str) -> None:
        """Removes a server that ends."""


class CertificateAuthority(Protocol):
    """The control plane's CA: X.509 for programs, Ed25519 SSH CAs for users and hosts."""

    @property
    def certificate(self) -> str:
        """PEM of the X.509 CA."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the CA certificate's DER, in hex."""

    @property
    def ssh_user_ca(self) -> str:
        """Public key of the CA for logins, in OpenSSH form."""

    @property
    def ssh_host_ca(self) -> str:
        """Public key of the CA for host keys, in OpenSSH form."""

    def sign_client(self, csr: str, uri: str, now: datetime) -> tuple[str, datetime]:
        """Signs a client certificate (PEM) for the key of a CSR (PEM), with the URI as identity; also its expiry.

        Raises InvalidInput if the CSR is malformed.
        """

    def csr_key(self, csr: str) -> str:
        """SHA-256 in hex of a CSR's public key. Raises InvalidInput."""

    def sign_ssh_host(self, public_key: str, principals: tuple[str, ...], key_id: str, now: datetime) -> str:
        """Signs an SSH host certificate (OpenSSH form), valid for 90 days. Raises InvalidInput for a bad key."""

    def sign_ssh_user(
        self, public_key: str, principals: tuple[str, ...], key_id: str, now: datetime, life: timedelta | None = None
    ) -> str:
        """Signs an SSH user certificate (OpenSSH form), valid from a minute ago for `life`, by default two minutes."""


class OidcIssuer(Protocol):
    """An OIDC issuer that logs people in by the device flow."""

    @property
    def rules(self) -> LoginRules:
        """Who may log in."""

    async def start(self) -> DeviceCode:
        """Asks for a code. Raises Unavailable, WrongState."""

    async def ask(self, device_code: str) -> Claims | LoginState:
        """The checked claims of the person who confirmed the code, or how far the login is.

        Raises Unauthenticated, Unavailable, WrongState.
        """


class Vault(Protocol):
    """Seals secrets that have to be given back, with a key that is not in the store."""

    def seal(self, text: str, about: str) -> str:
        """Encrypts a text, bound to what it is about."""

    def open(self, sealed: str, about: str) -> str:
        """Decrypts it. Raises DataLoss if it was sealed with another key, or for something else."""


@dataclass(frozen=True, slots=True)
class Received:
    """A measurement of a target, as in MetricsInbox, and when it was received."""

    target: tuple[str, str]
    time: datetime
    measured: Measurement


class SessionLogs(Protocol):
    """Reads logs of sessions and tasks from their runner."""

    def read(
        self,
        runner_uid: str,
        session_uid: str,
        tail_lines: int,
        follow: bool,
        *,
        user: str,
        since: datetime | None = None,
        task_id: str = "",
    ) -> AsyncIterator[bytes | Stderr]:
        """Yields pieces of at most 64 KiB for `user`; only lines written after `since`.

        With `task_id`, of that task, standard error apart; no `tail_lines` means all then.

        Raises Unavailable if the runner is not connected, NotFound if it has no logs, Exhausted if `user` reads too
        many.
        """


class FilesExchange(Protocol):
    """An exchange of files with a runner."""

    def answers(self) -> AsyncIterator[FilesAnswer]:
        """What the runner sends. Raises the error that it reports, and Unavailable if it disconnects."""

    async def send(self, data: bytes | None) -> None:
        """Sends a piece of at most 64 KiB to the runner, or None for the end."""


class FilesCarrier(Protocol):
    """Connects to the runners of sessions, for work with files."""

    def open(
        self, runner_uid: str, session_uid: str, work: FilesWork, *, user: str
    ) -> AbstractAsyncContextManager[FilesExchange]:
        """An exchange that has begun; it ends with the block. Raises Unavailable, and Exhausted if `user` has many."""


class MetricsInbox(Protocol):
    """Measurements for one watcher. A target is a runner and one of its sessions (uids), or the runner and MACHINE."""

    def follow(self, targets: frozenset[tuple[str, str]]) -> None:
        """Replaces the targets. Measurements of the last minute of a new one come first, as far as they are known."""

    async def next(self) -> list[Received]:
        """Waits for measurements, and returns them in order; the oldest ones are dropped if they are not taken."""

    def end(self, error: NetvpsError) -> None:
        """Makes `next` raise this error."""


class MetricsSource(Protocol):
    """Lets runners measure, for as long as an inbox follows what they have."""

    def open(self) -> AbstractContextManager[MetricsInbox]:
        """Opens an inbox, without targets."""


class Prober(Protocol):
    """Lets runners measure their links."""

    async def probe(self, runner_uid: str, peers: tuple[str, ...]) -> tuple[Link, ...]:
        """Measures the links from one runner to others (uids, at most MAX_PROBED) now; the result may lack some.

        Raises Unavailable if the runner is not connected, does not answer in time, or has too many requests.
        """
