"""Names that people type: sessions, users, SSH logins. Only this module builds and parses them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from netvps.domain.checks import shown
from netvps.domain.uid import UID_PATTERN
from netvps.errors import InvalidInput

SESSION_NAME_MAX = 40
USER_NAME_MAX = 32
RUNNER_NAME_MAX = 63
ENVIRONMENT_NAME_MAX = 63
SNAPSHOT_ID_MAX = 40

_ZONE = ".nv.internal"
"""What netvps.domain.overlay.dns answers for."""

_WAKE = "wake+"
_WATCH = "watch+"
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_TASK_ID = re.compile(rf"{UID_PATTERN}(-[0-9]{{1,3}})?")
# Names that programs write into /etc/passwd (useradd --badname, cloud images, directory services), without the
# separators of an SSH login or of a certificate's principal.
_UNIX_USER = re.compile(r"[A-Za-z0-9_][-A-Za-z0-9_.]{0,31}")


def check_label(value: str, field: str, limit: int) -> str:
    """Returns `value` if it is a DNS label of at most `limit` characters, else raises InvalidInput."""
    if len(value) <= limit and _LABEL.fullmatch(value):
        return value
    raise InvalidInput.of(
        field,
        f"{shown(value)} is not a name: use 1 to {limit} lower-case letters, digits and '-', "
        "with a letter or digit first and last",
    )


def check_task_id(value: str, field: str = "name") -> str:
    """Returns `value` if it is the id of a task, ID or ID-INDEX, or of an array, else raises InvalidInput."""
    if _TASK_ID.fullmatch(value):
        return value
    raise InvalidInput.of(field, f"{shown(value)} is not the id of a task: see netvps task ls")


def check_unix_user(value: str, field: str = "user") -> str:
    """Returns `value` if it can be the name of a Unix user, else raises InvalidInput."""
    if _UNIX_USER.fullmatch(value):
        return value
    raise InvalidInput.of(field, f"{shown(value)} is not the name of a Unix user: give for example root")


@dataclass(frozen=True, slots=True, order=True)
class SessionName:
    """The name of a session, unique per owner."""

    owner: str
    name: str

    def __post_init__(self) -> None:
        check_label(self.name, "name", SESSION_NAME_MAX)
        check_label(self.owner, "owner", USER_NAME_MAX)

    def __str__(self) -> str:
        return f"{self.name}.{self.owner}"

    @classmethod
    def parse(cls, text: str, default_owner: str) -> SessionName:
        """Reads NAME or NAME.OWNER. Raises InvalidInput, for field `name`."""
        name, dot, owner = text.partition(".")
        check_label(name, "name", SESSION_NAME_MAX)
        check_label(owner if dot else default_owner, "name", USER_NAME_MAX)
        return cls(owner if dot else default_owner, name)


SNAPSHOTS_LOGIN: Final = ".snapshots"
"""In place of an account in a login: it asks for the session's snapshots, and nothing else."""
WATCH_LOGIN: Final = ".watch"
"""In place of an account in a login: it watches the session's terminals, and does nothing else."""


@dataclass(frozen=True, slots=True)
class SshLogin:
    """The user name in an SSH login: [wake+|watch+]NAME[.OWNER][+UNIXUSER]. It has no colon, because scp splits there.

    So a session that is called "wake" is reached as a Unix user by "wake.OWNER+UNIXUSER". SNAPSHOTS_LOGIN in place of
    UNIXUSER, which no account can have as its name, asks for the snapshots alone; WATCH_LOGIN is what "watch+" stands
    for, which takes no UNIXUSER.
    """

    session: str
    owner: str | None
    unix_user: str
    wake: bool = False
    """Whether it asks to start the session, whoever stopped it."""

    @classmethod
    def parse(cls, text: str) -> SshLogin:
        """Reads a login. Raises InvalidInput."""
        if text.startswith(_WATCH):
            text = f"{text.removeprefix(_WATCH)}+{WATCH_LOGIN}"
        wakes = text.startswith(_WAKE)
        target, plus, unix_user = text.removeprefix(_WAKE).partition("+")
        if plus and unix_user not in {SNAPSHOTS_LOGIN, WATCH_LOGIN}:
            check_unix_user(unix_user)
        name, dot, owner = target.partition(".")
        check_label(name, "user", SESSION_NAME_MAX)
        if dot:
            check_label(owner, "user", USER_NAME_MAX)
        return cls(name, owner if dot else None, unix_user or "root", wakes)

    @classmethod
    def of_host(cls, text: str) -> SshLogin:
        """Reads the host that a client asks a gateway to lead to: NAME, NAME.OWNER or NAME.OWNER.nv.internal.

        Raises InvalidInput.
        """
        if "+" in text:
            raise InvalidInput.of("host", f"{shown(text)} is not NAME or NAME.OWNER")
        return cls.parse(text.lower().removesuffix(".").removesuffix(_ZONE))

    @property
    def target(self) -> str:
        """The session as it was named: NAME or NAME.OWNER."""
        return self.session if self.owner is None else f"{self.session}.{self.owner}"

    @classmethod
    def of_client(cls, text: str) -> SshLogin:
        """Reads what an SSH client sent, which is the name of the local Unix user unless it was set to something else.

        Such a name is kept although no session can have it. Raises InvalidInput.
        """
        try:
            return cls.parse(text)
        except InvalidInput:
            if not _UNIX_USER.fullmatch(text) or "." in text:
                raise
            return cls(text, None, "root")


def label_from(text: str, fallback: str, limit: int = RUNNER_NAME_MAX) -> str:
    """The valid label closest to any text (a machine's hostname, an account's name)."""
    label = re.sub(r"[^a-z0-9]+", "-", text.lower())[:limit].strip("-")
    return label or fallback
