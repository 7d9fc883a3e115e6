"""Logins with accounts of an OIDC issuer: who may, and as whom."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Final

from netvps.domain.access.accounts import Role
from netvps.domain.checks import shown
from netvps.domain.names import USER_NAME_MAX, label_from
from netvps.errors import NotPermitted, Unauthenticated

ANYONE: Final = "*"
"""In place of a domain: every account of the issuer."""
EMAIL: Final = "email"
SUBJECT_MAX: Final = 255
"""Characters of a subject, which are ASCII (OpenID Connect Core 1.0, section 2)."""
_SUBJECT: Final = re.compile(r"[\x21-\x7e]+")
Claims = Mapping[str, object]
"""Of an ID token whose signature, issuer, audience and times were checked."""


@dataclass(frozen=True, slots=True)
class LoginRules:
    """What the operator configured."""

    issuer: str
    client_id: str
    audience: str
    user_claim: str = "preferred_username"
    groups: tuple[str, ...] = ()
    """Members of one of them may log in."""
    domains: tuple[str, ...] = ()
    """People with a verified email address in one of them may log in; ANYONE stands for all people."""
    role: Role = Role.USER
    """Of accounts that a login makes."""


class LoginState(StrEnum):
    """How far a login is."""

    PENDING = "PENDING"
    SLOW_DOWN = "SLOW_DOWN"
    """As PENDING; the issuer wants five seconds more between two questions (RFC 8628, section 3.5)."""
    DONE = "DONE"


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What an issuer answers to the start of a login."""

    device_code: str
    """A secret, by which the issuer knows the login."""
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    seconds: float
    """How long it can be confirmed."""
    interval: float
    """Seconds between two questions whether it was."""


@dataclass(frozen=True, slots=True)
class StartedLogin:
    """A login that a person has to confirm; `token` is the client's for the rest of it."""

    token: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expire_time: datetime
    interval: float


@dataclass(frozen=True, slots=True)
class Person:
    """The account of a person at the issuer, and the name of the user that they get here."""

    subject: str
    name: str


@dataclass(frozen=True, slots=True)
class ExternalAccount:
    """Says which user an account of an issuer is: names change there, and are given to others; subjects are not."""

    kind: ClassVar[str] = "external_account"

    issuer: str
    subject: str
    user: str
    create_time: datetime
    revision: int = 0

    @property
    def key(self) -> str:
        """Primary key in the store."""
        return account_key(self.issuer, self.subject)


def account_key(issuer: str, subject: str) -> str:
    """The key of an ExternalAccount."""
    return f"{issuer} {subject}"


def person_of(claims: Claims, rules: LoginRules) -> Person:
    """The person whom an ID token is about. Raises NotPermitted, Unauthenticated."""
    _require_admitted(claims, rules)
    subject, name = claims.get("sub"), claims.get(rules.user_claim)
    if not isinstance(subject, str) or len(subject) > SUBJECT_MAX or not _SUBJECT.fullmatch(subject):
        raise Unauthenticated(
            f"the ID token of {rules.issuer} has no usable subject: report it to who runs the issuer",
            reason="BAD_ID_TOKEN",
        )
    if rules.user_claim == EMAIL:
        _email(claims, rules)
    label = label_from(name.partition("@")[0], "", USER_NAME_MAX) if isinstance(name, str) else ""
    if not label:
        raise NotPermitted(
            f"your account at {rules.issuer} has no claim {rules.user_claim} that makes a user name: ask an admin of"
            " this server to check oidc_user_claim, and which claims the issuer gives this client",
            reason="NO_USER_CLAIM",
        )
    return Person(subject, label)


def _require_admitted(claims: Claims, rules: LoginRules) -> None:
    groups = claims.get("groups")
    if isinstance(groups, list) and not set(rules.groups).isdisjoint(each for each in groups if isinstance(each, str)):
        return
    if ANYONE in rules.domains:
        return
    if rules.domains and _email(claims, rules).rpartition("@")[2].lower() in rules.domains:
        return
    wanted = [f"in a group of {', '.join(rules.groups)}"] if rules.groups else []
    wanted += [f"with an address at {', '.join(rules.domains)}"] if rules.domains else []
    raise NotPermitted(
        f"your account at {rules.issuer} may not log in here: that is for accounts {' or '.join(wanted)}; ask an admin"
        " of this server",
        reason="NOT_ADMITTED",
    )


def _email(claims: Claims, rules: LoginRules) -> str:
    """The email address. Raises NotPermitted if the issuer has not verified it: people write any into their account."""
    email = claims.get(EMAIL)
    if isinstance(email, str) and claims.get("email_verified") is True:
        return email
    raise NotPermitted(
        f"{rules.issuer} has not verified your email address {shown(email) if isinstance(email, str) else ''}".rstrip()
        + ": verify it there, or ask an admin of this server to admit a group instead (oidc_groups)",
        reason="EMAIL_NOT_VERIFIED",
    )
