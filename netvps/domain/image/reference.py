"""References of images: "[HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]"."""

from __future__ import annotations

import re
from typing import Final

from netvps.domain.checks import shown
from netvps.errors import InvalidInput

REFERENCE_MAX: Final = 255
"""Maximum characters of a reference."""
HOST_MAX: Final = 253
LATEST: Final = "latest"
"""The tag of a reference that names none."""

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?"
_REFERENCE = re.compile(
    rf"(?:(?P<host>{_HOST})/)?(?P<repository>{_PART}(?:/{_PART})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)
_REGISTRY = re.compile(_HOST)
_ENVIRONMENT = "netvps/"


def check_reference(text: str, field: str = "reference") -> str:
    """The reference with its tag, which is "latest" if it names neither tag nor digest. Raises InvalidInput."""
    found = _REFERENCE.fullmatch(text) if len(text) <= REFERENCE_MAX else None
    if found is None:
        raise InvalidInput.of(
            field, f"{shown(text)} is not the name of an image: use [HOST/]NAME[:TAG], for example debian:12"
        )
    return text if found["tag"] or found["digest"] else f"{text}:{LATEST}"


def same_reference(one: str, other: str) -> bool:
    """Whether two references name the same image, with "latest" in place of no tag."""
    return _tagged(one) == _tagged(other)


def check_registry(text: str, field: str = "host") -> str:
    """Returns the host of a registry, HOST[:PORT] in lower case, else raises InvalidInput."""
    host = text.lower()
    if len(host) <= HOST_MAX and _REGISTRY.fullmatch(host):
        return host
    raise InvalidInput.of(field, f"{shown(text)} is not a registry: give HOST or HOST:PORT, without a scheme or a path")


def environment_of(reference: str) -> str:
    """NAME of a reference that netvps gives to environments, "netvps/NAME:latest"; '' of any other."""
    name, colon, tag = reference.removeprefix(_ENVIRONMENT).partition(":")
    ours = reference.startswith(_ENVIRONMENT) and "/" not in name
    return name if ours and (not colon or tag == LATEST) else ""


def is_environment(reference: str) -> bool:
    """Whether only runners can have an image of this name, and no registry: "netvps/NAME[:TAG]"."""
    return reference.startswith(_ENVIRONMENT)


def _tagged(reference: str) -> str:
    try:
        return check_reference(reference)
    except InvalidInput:
        return reference
