"""Logins and their ends: a line of the log, and a record of the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from netvps.domain.access.audit import AuditEvent
from netvps.services.access.terminal_ui import TERMINAL_UI

if TYPE_CHECKING:
    from collections.abc import Callable

    from netvps.services.access.logins import Grant

log = structlog.get_logger()


def report(audit: Callable[[AuditEvent], None], event: str, grant: Grant, origin: str, **more: object) -> None:
    """Reports an event ("ssh login") of a login with a grant; `audit` takes it for the audit log."""
    log.info(event, origin=origin, session=grant.session.uid, user=grant.user, **more)
    details = tuple((name, str(value)) for name, value in {"unix_user": grant.unix_user, **more}.items())
    target = "" if grant.session.uid == TERMINAL_UI else f"sessions/{grant.session.full_name}"
    audit(AuditEvent(grant.user, origin, event.replace(" ", "."), target, details=details))
