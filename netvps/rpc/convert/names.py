"""Resource names ("sessions/NAME.OWNER", "users/NAME", …). Only this module builds and parses them."""

from __future__ import annotations

import re

from netvps.domain.checks import shown
from netvps.domain.names import RUNNER_NAME_MAX, SESSION_NAME_MAX, SNAPSHOT_ID_MAX, USER_NAME_MAX, check_label
from netvps.domain.uid import UID_PATTERN
from netvps.errors import InvalidInput
from netvps.rpc.convert.texts import word

ME = "me"
ALL = "-"
_REQUEST_ID_MAX = 64
_SESSION, _USER, _RUNNER, _SSH_KEY, _API_KEY = "sessions/", "users/", "runners/", "/sshKeys/", "/apiKeys/"
_SNAPSHOT, _SNAPSHOT_FORM = "/snapshots/", "sessions/NAME/snapshots/SNAPSHOT or sessions/NAME.OWNER/snapshots/SNAPSHOT"
_SHARE, _SHARE_FORM = "/shares/", "sessions/NAME/shares/USER or sessions/NAME.OWNER/shares/USER"
_IMAGE, _IMAGE_FORM = "/images/", "runners/RUNNER/images/REFERENCE"
_REGISTRY_LOGIN = "registryLogins/"
_INVITATION = "invitations/"
_UID = re.compile(UID_PATTERN)


def session_name(name: str) -> str:
    """The resource name for NAME or NAME.OWNER."""
    return _SESSION + name


def parse_session_name(text: str, field: str = "name") -> str:
    """Parses "sessions/…" into NAME or NAME.OWNER. Raises InvalidInput."""
    full = _strip(text, _SESSION, field, "sessions/NAME or sessions/NAME.OWNER")
    name, dot, owner = full.partition(".")
    check_label(name, field, SESSION_NAME_MAX)
    if dot:
        check_label(owner, field, USER_NAME_MAX)
    return full


def snapshot_name(name: str) -> str:
    """The resource name for SESSION/ID, where SESSION is NAME or NAME.OWNER."""
    session, _, snapshot = name.partition("/")
    return f"{_SESSION}{session}{_SNAPSHOT}{snapshot}"


def parse_snapshot_name(text: str, field: str = "name") -> tuple[str, str]:
    """Parses "sessions/SESSION/snapshots/ID" into (SESSION, ID), where SESSION is NAME or NAME.OWNER.

    Raises InvalidInput.
    """
    session, found, snapshot = text.partition(_SNAPSHOT)
    if not found:
        raise InvalidInput.of(field, f"{shown(text)} is not of the form {_SNAPSHOT_FORM}")
    return parse_session_name(session, field), check_label(snapshot, field, SNAPSHOT_ID_MAX)


def parse_snapshots_parent(text: str, field: str = "parent") -> tuple[str, str]:
    """Parses "sessions/SESSION" into ("", SESSION), and what `parse_parent` parses into (that, "").

    Raises InvalidInput.
    """
    if text.startswith(_SESSION):
        return "", parse_session_name(text, field)
    return parse_parent(text, field), ""


def share_name(session: str, user: str) -> str:
    """The resource name for a session, NAME or NAME.OWNER, and a user."""
    return f"{_SESSION}{session}{_SHARE}{user}"


def parse_share_name(text: str, field: str = "name") -> tuple[str, str]:
    """Parses "sessions/SESSION/shares/USER" into (SESSION, USER), where SESSION is NAME or NAME.OWNER.

    Raises InvalidInput.
    """
    session, found, user = text.partition(_SHARE)
    if not found:
        raise InvalidInput.of(field, f"{shown(text)} is not of the form {_SHARE_FORM}")
    return parse_session_name(session, field), check_label(user, field, USER_NAME_MAX)


def parse_shares_parent(text: str, field: str = "parent") -> tuple[str, str]:
    """Parses "sessions/SESSION" into ("", SESSION), "users/USER" into (USER, ""); "" and "users/me" into ("", "").

    Raises InvalidInput.
    """
    if text.startswith(_SESSION):
        return "", parse_session_name(text, field)
    return parse_owner(text, field), ""


def check_uid(text: str, field: str) -> str:
    """Returns `text` if it can be a uid, else raises InvalidInput. Runners use uids in the names of files."""
    if _UID.fullmatch(text):
        return text
    raise InvalidInput.of(field, f"{shown(text)} is not a uid")


def user_name(name: str) -> str:
    """The resource name for NAME or "me"."""
    return _USER + name


def parse_user_name(text: str, field: str = "name") -> str:
    """Parses "users/NAME" into NAME; "me" stays "me". Raises InvalidInput."""
    return check_label(_strip(text, _USER, field, "users/NAME or users/me"), field, USER_NAME_MAX)


def parse_parent(text: str, field: str = "parent") -> str:
    """Parses "users/USER" into USER, "users/-" (all) into "-", "" and "users/me" (the caller) into "".

    Raises InvalidInput.
    """
    if not text:
        return ""
    user = _strip(text, _USER, field, "users/USER, users/me or users/-")
    if user == ME:
        return ""
    return user if user == ALL else check_label(user, field, USER_NAME_MAX)


def parse_owner(text: str, field: str) -> str:
    """Parses "users/USER" into USER; "" and "users/me" into "". Raises InvalidInput."""
    owner = parse_user_name(text, field) if text else ""
    return "" if owner == ME else owner


def runner_name(name: str) -> str:
    """The resource name for NAME; "" stays ""."""
    return _RUNNER + name if name else ""


def parse_runner_name(text: str, field: str = "name") -> str:
    """Parses "runners/NAME" into NAME. Raises InvalidInput."""
    return check_label(_strip(text, _RUNNER, field, "runners/NAME"), field, RUNNER_NAME_MAX)


def image_name(runner: str, reference: str) -> str:
    """The resource name for a runner's NAME and the reference of an image."""
    return f"{_RUNNER}{runner}{_IMAGE}{reference}"


def parse_image_name(text: str, field: str = "name") -> tuple[str, str]:
    """Parses "runners/RUNNER/images/REFERENCE" into (RUNNER, REFERENCE). Raises InvalidInput."""
    from netvps.domain.image.reference import check_reference

    runner, found, reference = text.partition(_IMAGE)
    if not found:
        raise InvalidInput.of(field, f"{shown(text)} is not of the form {_IMAGE_FORM}")
    return parse_runner_name(runner, field), check_reference(reference, field)


def parse_images_parent(text: str, field: str = "parent") -> str:
    """Parses "runners/NAME" into NAME, and "runners/-" and "" (all) into "". Raises InvalidInput."""
    return "" if text in {"", _RUNNER + ALL} else parse_runner_name(text, field)


def registry_login_name(host: str) -> str:
    """The resource name for the host of a registry."""
    return _REGISTRY_LOGIN + host


def parse_registry_login_name(text: str, field: str = "name") -> str:
    """Parses "registryLogins/HOST" into HOST. Raises InvalidInput."""
    from netvps.domain.image.reference import check_registry

    return check_registry(_strip(text, _REGISTRY_LOGIN, field, "registryLogins/HOST"), field)


def invitation_name(kid: str) -> str:
    """The resource name for the KID of an invitation."""
    return _INVITATION + kid


def parse_invitation_name(text: str, field: str = "name") -> str:
    """Parses "invitations/KID" into KID. Raises InvalidInput."""
    return _strip(text, _INVITATION, field, "invitations/KID")


def ssh_key_name(user: str, uid: str) -> str:
    """The resource name for a user's NAME and the uid or fingerprint of a key."""
    return f"{_USER}{user}{_SSH_KEY}{uid}"


def parse_ssh_key_name(text: str, field: str = "name") -> tuple[str, str]:
    """Parses "users/USER/sshKeys/UID" into (USER, uid or fingerprint). Raises InvalidInput."""
    return _parse_child(text, _SSH_KEY, field, "users/USER/sshKeys/UID")


def api_key_name(user: str, kid: str) -> str:
    """The resource name for a user's NAME and the id of a key."""
    return f"{_USER}{user}{_API_KEY}{kid}"


def parse_api_key_name(text: str, field: str = "name") -> tuple[str, str]:
    """Parses "users/USER/apiKeys/KID" into (USER, KID). Raises InvalidInput."""
    return _parse_child(text, _API_KEY, field, "users/USER/apiKeys/KID")


def check_request_id(text: str, field: str = "request_id") -> str:
    """Returns `text` if it is a valid idempotency key (or empty: none), else raises InvalidInput."""
    if len(text) <= _REQUEST_ID_MAX and text.isprintable():
        return text
    raise InvalidInput.of(field, f"{shown(text)} is not a request id: use up to {_REQUEST_ID_MAX} printable characters")


def _strip(text: str, prefix: str, field: str, form: str) -> str:
    rest = text.removeprefix(prefix)
    if rest == text or not rest:
        raise InvalidInput.of(field, f"{shown(text)} is not of the form {form}")
    return rest


def _parse_child(text: str, collection: str, field: str, form: str) -> tuple[str, str]:
    # A fingerprint may contain '/' (base64): only the first separator counts.
    user, found, child = text.partition(collection)
    if not found or not child:
        raise InvalidInput.of(field, f"{shown(text)} is not of the form {form}")
    return check_label(_strip(user, _USER, field, form), field, USER_NAME_MAX), word(child, field)
