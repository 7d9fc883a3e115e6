"""The login with an account at the server's OIDC issuer: a code that the person confirms in a browser."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from netvps.cli.people.register import own_key
from netvps.cli.server import connect
from netvps.cli.ui.output import note
from netvps.display.units import duration_words
from netvps.domain.access.oidc import LoginState
from netvps.errors import TimedOut, Unavailable
from netvps.exit_codes import Cancelled

if TYPE_CHECKING:
    from netvps.cli.server.contexts import Context
    from netvps.client import Client
    from netvps.domain.access.oidc import StartedLogin

_INTERVAL_MIN, _INTERVAL_MAX = 1.0, 60.0
_LONGEST: Final = 1800.0
_SLOWER: Final = 5.0
"""Seconds (RFC 8628, section 3.5)."""


def log_in(server: Context, key_file: str | None) -> tuple[str, datetime]:
    """The API key of the person who confirms, and its end; their SSH key is registered.

    Raises TimedOut, Cancelled, or what the server answers.
    """
    with connect.dial(server) as stranger:
        started = stranger.start_login()
        key = own_key(key_file)
        note("open this page in a browser, and confirm the code there:")
        note(f"  {started.verification_uri_complete or started.verification_uri}")
        note(f"  {started.user_code}")
        try:
            return _confirmed(stranger, started, f"{key.text} {key.comment}".strip())
        except KeyboardInterrupt:
            raise Cancelled("stopped waiting: the code is not used, and you are not logged in") from None


def _confirmed(server: Client, started: StartedLogin, public_key: str) -> tuple[str, datetime]:
    life = min((started.expire_time - datetime.now(UTC)).total_seconds(), _LONGEST)
    interval = min(max(started.interval, _INTERVAL_MIN), _INTERVAL_MAX)
    ends = time.monotonic() + life
    while time.monotonic() < ends:
        time.sleep(interval)
        try:
            answer = server.finish_login(started.token, public_key)
        except Unavailable as error:  # it is tried again for as long as the code can be confirmed
            note(f"{error.message}; trying again")
            continue
        if not isinstance(answer, LoginState):
            _, secret, expire_time = answer
            return secret, expire_time
        if answer is LoginState.SLOW_DOWN:
            interval = min(interval + _SLOWER, _INTERVAL_MAX)
    raise TimedOut(f"the code was not confirmed within {duration_words(max(life, 0.0))}: log in again, with --sso")
