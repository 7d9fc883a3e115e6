"""What the use cases need of the world, as Protocols; adapters, rpc and gateway fulfil them without inheriting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from netvps.domain.overlay.health import Link


class Resource(Protocol):
    """What the store keeps: a frozen dataclass of the domain with a kind, a primary key and a revision."""

    kind: ClassVar[str]

    @property
    def key(self) -> str:
        """Primary key among its kind."""

    @property
    def revision(self) -> int:
        """Global revision of its last change."""


R = TypeVar("R", bound=Resource)
Wanted = str | tuple[str, ...]
"""A value of a column, or several of which any will do."""
Clock = Callable[[], datetime]
"""Tells the time, in UTC, with a time zone."""


class Reader(Protocol):
    """A consistent view of the store.

    | kind | natural order, and so `position` | columns of `where` |
    |---|---|---|
    | session | name, owner: "NAME.OWNER" | name, owner, runner, state, desired, overlay_address, key_fingerprints |
    | runner | name | name, state |
    | user | name | role |
    | ssh_key | fingerprint | fingerprint, owner |
    | credential | kid | purpose, subject, used_by, used_for |
    | lease | cidr | runner |
    | request | request_key | — |

    Columns of numbers: cpu_claim and memory_claim of a session. A condition on key_fingerprints, of which a session has
    several, holds where the value is one of them; `tally` does not take it. A condition whose value is a tuple holds
    where the column has any of its values.

    Order is that of code points, column by column. Another column in `where` is a bug: ValueError.
    """

    @property
    def revision(self) -> int:
        """The global revision of this view."""

    async def get(self, kind: type[R], key: str) -> R | None:
        """One resource by its primary key."""

    async def find(self, kind: type[R], **where: Wanted) -> list[R]:
        """All resources whose columns equal `where`, ordered by the kind's natural order."""

    async def page(self, kind: type[R], after: str, limit: int, **where: Wanted) -> list[R]:
        """At most `limit` resources in natural order, after a position: that of the last one seen, or ''.

        What was at that position may be gone by now: the page starts with what follows it.
        """

    async def tally(self, kind: type[Resource], by: str, *sums: str, **where: Wanted) -> dict[str, tuple[int, ...]]:
        """For each value of a column: how many resources match `where`, then their sums of columns of numbers.

        Far cheaper than finding them.
        """


class Transaction(Reader, Protocol):
    """A view that may be changed; each change appends to the log. An exception in the block undoes all of it."""

    async def put(self, resource: R) -> R:
        """Inserts or replaces; returns it with its new revision. Raises AlreadyExists if a unique column is taken."""

    async def delete(self, resource: Resource) -> None:
        """Removes it. What is gone already is no error."""


@dataclass(frozen=True, slots=True)
class Change:
    """An entry of the log: a resource after its change, or, if `deleted`, as it was last."""

    revision: int
    resource: Resource
    deleted: bool
    actor: str
    time: datetime
    ephemeral: bool = False
    """Not of the log: what is shown of a resource meanwhile, at the revision that the log was read up to."""


class Store(Protocol):
    """The truth, with its log of revisions."""

    def read(self) -> AbstractAsyncContextManager[Reader]:
        """A snapshot to read from."""

    def write(self, actor: str) -> AbstractAsyncContextManager[Transaction]:
        """One transaction; `actor` goes into the log. It is committed when the block ends."""

    async def changes(self, after: int, limit: int) -> list[Change]:
        """The log after a revision, in order: at most `limit` entries, and fewer where they are large.

        Raises TooOld if part of that was compacted.
        """

    async def wait(self, after: int) -> None:
        """Returns once the global revision is greater than `after`."""


class CertificateAuthority(Protocol):
    """The control plane's own CA: X.509 for programs, Ed25519 SSH CAs for users and hosts."""

    @property
    def certificate(self) -> str:
        """PEM of the X.509 CA."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the CA certificate's DER, in hex."""

    @property
    def ssh_user_ca(self) -> str:
        """Public key, OpenSSH form, of the CA for logins."""

    @property
    def ssh_host_ca(self) -> str:
        """Public key, OpenSSH form, of the CA for host keys."""

    def sign_client(self, csr: str, uri: str, now: datetime) -> tuple[str, datetime]:
        """A client certificate (PEM) for the key of a CSR (PEM), with the URI as its identity, and when it ends.

        Raises InvalidInput if the CSR is malformed.
        """

    def csr_key(self, csr: str) -> str:
        """SHA-256 in hex of a CSR's public key. Raises InvalidInput."""

    def sign_ssh_host(self, public_key: str, principals: tuple[str, ...], key_id: str, now: datetime) -> str:
        """An SSH host certificate, OpenSSH form, valid 90 days. Raises InvalidInput if the key is malformed."""

    def sign_ssh_user(
        self, public_key: str, principals: tuple[str, ...], key_id: str, now: datetime, life: timedelta | None = None
    ) -> str:
        """An SSH user certificate, OpenSSH form, valid from a minute ago for `life`, by default two minutes."""


class SessionLogs(Protocol):
    """Reads logs where they are: on the session's runner."""

    def read(
        self,
        runner_uid: str,
        session_uid: str,
        tail_lines: int,
        follow: bool,
        *,
        user: str,
        since: datetime | None = None,
    ) -> AsyncIterator[bytes]:
        """Pieces of at most 64 KiB, for `user`; only what was written after `since`.

        Raises Unavailable if the runner is not connected, NotFound if it has none, Exhausted if `user` reads too many.
        """


class Prober(Protocol):
    """Has runners measure their links."""

    async def probe(self, runner_uid: str, peers: tuple[str, ...]) -> tuple[Link, ...]:
        """How the links from one runner to others (uids, at most MAX_PROBED) are now; it may leave some out.

        Raises Unavailable if it is not connected, does not answer in time, or is asked for too much at once.
        """
