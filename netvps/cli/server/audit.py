"""`netvps audit`: who did what, from where, and whether the record of it is whole."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import click

from netvps.cli.server.connect import client
from netvps.cli.ui.arguments import USER
from netvps.cli.ui.output import Column, View, emit, format_option, note
from netvps.cli.ui.parse import DURATION
from netvps.display.units import moment_words
from netvps.errors import DataLoss, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from netvps.domain.access.audit import AuditRecord

_PAGE = 1000


@click.group("audit")
def audit() -> None:
    """The audit log: logins, refusals, changes (admins only)."""


def _view() -> View[AuditRecord]:
    from netvps.cli.session.sessions import to_json

    return View(
        name=lambda found: str(found.number),
        columns=(
            Column("TIME", lambda found: moment_words(found.time)),
            Column("USER", lambda found: found.event.actor or "-"),
            Column("FROM", lambda found: found.event.origin),
            Column("ACTION", lambda found: found.event.action),
            Column("TARGET", lambda found: found.event.target or "-"),
            Column("OUTCOME", lambda found: found.event.outcome),
            Column("DETAILS", lambda found: ", ".join(f"{name} {value}" for name, value in found.event.details), True),
        ),
        json=to_json,
    )


@audit.command("ls")
@click.option("--user", "actor", type=USER, default="", help="What this user did.")
@click.option("--target", default="", metavar="NAME", help="What was done to this resource: sessions/NAME.OWNER, …")
@click.option("--action", default="", metavar="ACTION", help="One action: ssh.login, SessionService/DeleteSession, …")
@click.option("--since", type=DURATION, help="Only the last of this time: 2h, 7d.")
@click.option("-n", "--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many.")
@format_option
def ls(*, actor: str, target: str, action: str, since: float | None, limit: int, form: str) -> None:
    """List the newest records, oldest first.

    Example: netvps audit ls --user alice --since 2h
    """
    from datetime import UTC, datetime, timedelta

    from netvps.domain.access.audit import AuditQuery

    begin = None if since is None else datetime.now(UTC) - timedelta(seconds=since)
    query = AuditQuery(min(limit, _PAGE), newest_first=True, actor=actor, target=target, action=action, since=begin)
    found = list(islice(client().list_audit_records(query), limit))
    _view().print_all(found[::-1], form)


@audit.command("export")
def export() -> None:
    """Print all records, one JSON object a line, for `verify` and other programs.

    Example: netvps audit export > audit.jsonl
    """
    _view().print_all(_all(), "jsonl")


@audit.command("verify")
@click.option(
    "--file", type=click.Path(exists=True, dir_okay=False), help="Check what `export` wrote, in place of the server."
)
@click.option("--newest", default="", metavar="DIGEST", help="The digest that the newest record must have.")
def verify(file: str | None, newest: str) -> None:
    """Check that no record was changed, removed or reordered.

    It prints the digest of the newest record. Keep it elsewhere: with --newest, a later check of an export also notices
    records that were cut off at the end.
    """
    from pathlib import Path

    from netvps.domain.access.audit import Verification

    checking = Verification()
    for found in _all() if file is None else _from_file(Path(file)):
        checking.add(found)
    faults = checking.finish(newest)
    if faults:
        raise DataLoss("the audit log is not whole: " + "; ".join(faults), reason="AUDIT_BROKEN")
    if checking.last is None:
        note("the audit log has no records yet")
        return
    note(f"{checking.count} records are whole, up to {moment_words(checking.last.time)}; digest of the newest:")
    emit(checking.last.digest)


def _all() -> Iterable[AuditRecord]:
    from netvps.domain.access.audit import AuditQuery

    return client().list_audit_records(AuditQuery(_PAGE))


def _from_file(path: Path) -> Iterator[AuditRecord]:
    from netvps.rpc.jsonform import audit_record_from_json

    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield audit_record_from_json(line)
            except ValueError as error:
                raise InvalidInput.of("file", f"line {number} of {path} is no audit record: {error}") from None
