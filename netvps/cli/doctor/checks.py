"""What `netvps doctor` looks at anywhere: the server, clocks, programs. Each check is a function, with its remedy."""

from __future__ import annotations

import ctypes
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from netvps.domain.finding import Finding, Severity
from netvps.errors import NetvpsError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from netvps.cli.server.contexts import Context
    from netvps.domain.runner.runner import Runner

_SKEW: Final = timedelta(minutes=1)
_HEARD: Final = timedelta(minutes=2)
"""How long ago an online runner may have been noted as heard."""
_SET_CLOCK: Final = "set the clock: timedatectl set-ntp true"
_KEEP_APART: Final = (
    "give the runner CAP_NET_ADMIN and nft, or have services of its machine listen on 127.0.0.1 or behind a firewall"
)
_SEE_LOG: Final = "look at the server's log"
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronized


def server(context: Context) -> list[Finding]:
    """Whether the server of the context answers, and accepts our credential; then its CA, and our clock against its."""
    from netvps.cli.server.connect import dial

    try:
        with dial(context) as client:
            info = client.server_info()
            me = client.get_user("me")
            known = [view.runner for view in client.list_runners()]
    except NetvpsError as error:
        return [Finding(Severity.FAIL, "server", f"{context.name}: {error}")]
    answered = f"{context.name} ({context.address}) runs netvps {info.version}; you are {me.name}, {me.role.lower()}"
    heard = max((runner.last_seen for runner in known if runner.state == "ONLINE"), default=None)
    found = [Finding(Severity.OK, "server", answered), authority(info.ca_certificate), clock(heard=heard)]
    return [*found, *runners(known)]


def runners(known: Iterable[Runner]) -> list[Finding]:
    """What runners that are online say is wrong with their machines, beside the overlay."""
    online = [runner for runner in known if runner.state == "ONLINE"]
    found = [
        Finding(Severity.FAIL, f"runner {runner.name}", f"no session can start there: {runner.engine_problem}")
        for runner in online
        if runner.engine_problem
    ]
    found += [
        Finding(
            Severity.FAIL, f"runner {runner.name}", f"it runs no sessions, and is not on the overlay: {_why(runner)}"
        )
        for runner in online
        if runner.no_sessions and runner.underlay is None
    ]
    return found + [
        Finding(Severity.WARN, f"runner {runner.name}", runner.isolation_problem, _KEEP_APART)
        for runner in online
        if runner.isolation_problem
    ]


def _why(runner: Runner) -> str:
    """Why a runner is not on the overlay."""
    messages = [problem.message.removeprefix("no overlay: ") for problem in runner.problems]
    return "; ".join(messages) or "its setting overlay is off"


def authority(certificate: str, now: float | None = None) -> Finding:
    """Whether the CA certificate is one, and good now; its fingerprint is what `netvps login` has people compare."""
    import ssl

    from netvps.cli.access.login import fingerprint

    store = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        store.load_verify_locations(cadata=certificate)
        (found,) = store.get_ca_certs()
    except (ssl.SSLError, ValueError) as error:
        return Finding(Severity.FAIL, "certificates", f"the CA certificate cannot be loaded: {error}", _SEE_LOG)
    begin, end = (ssl.cert_time_to_seconds(str(found[key])) for key in ("notBefore", "notAfter"))
    if not begin <= (time.time() if now is None else now) <= end:
        dates = f"the CA certificate is good from {found['notBefore']} to {found['notAfter']}, and not now"
        return Finding(Severity.FAIL, "certificates", dates, _SET_CLOCK)
    return Finding(Severity.OK, "certificates", f"CA SHA-256 {fingerprint(certificate)}")


def clock(now: datetime | None = None, heard: datetime | None = None) -> Finding:
    """Whether the clock can be right: not before this program was installed, and the server's, as far as that tells.

    `heard` is when, by the server's clock, it last noted a runner that is online: some time in the last minute.
    """
    now = now or datetime.now(UTC)
    installed = datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC)
    said = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    if now < installed - _SKEW:
        return Finding(Severity.FAIL, "clock", f"{said} is before this program was installed", _SET_CLOCK)
    if heard is not None and not -_SKEW <= now - heard <= _HEARD:
        apart = f"{said}, and the server heard of a runner at {heard:%H:%M:%S}: the clocks differ, or that one hangs"
        return Finding(Severity.FAIL, "clock", apart, f"{_SET_CLOCK}, on both")
    if not _synchronized():
        return Finding(Severity.WARN, "clock", f"{said}; no time server keeps it right", _SET_CLOCK)
    return Finding(Severity.OK, "clock", said)


def _synchronized() -> bool:
    """What the program that sets the clock reported to the kernel. No privilege needed; sized as struct timex."""
    modes_0 = ctypes.create_string_buffer(256)
    return bool(ctypes.CDLL(None).adjtimex(modes_0) != _TIME_ERROR)


def programs() -> list[Finding]:
    """The programs of OpenSSH that the CLI uses."""
    found = []
    for name in ("ssh", "ssh-keygen"):
        where = shutil.which(name)
        if where is None:
            found.append(Finding(Severity.FAIL, name, "not installed", "apt install openssh-client"))
        else:
            found.append(Finding(Severity.OK, name, where))
    return found
