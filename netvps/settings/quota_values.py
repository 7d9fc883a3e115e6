"""The value of the setting of quotas: ROLE:RESOURCE=AMOUNT, several with commas."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from netvps.display.units import parse_size
from netvps.domain.access.accounts import Role
from netvps.domain.access.quota import RESOURCE_WORDS, Quota
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping

_WHOLE, _DECIMAL = re.compile(r"[0-9]{1,9}"), re.compile(r"[0-9]{1,9}(\.[0-9]+)?")
_RESOURCES = {word: resource for resource, word in RESOURCE_WORDS.items()}


def quotas(value: str) -> str:
    """Validates it."""
    parse_quotas(value)
    return value


def parse_quotas(value: str) -> Mapping[Role, Quota]:
    """The quota of each role. Raises ValueError."""
    found: dict[Role, dict[str, int]] = defaultdict(dict)
    for part in filter(None, (part.strip() for part in value.split(","))):
        role, _, limit = part.partition(":")
        word, _, amount = limit.partition("=")
        if role.upper() not in set(Role) or word not in _RESOURCES:
            raise ValueError(
                f"{part!r} is not ROLE:RESOURCE=AMOUNT, with a role ({', '.join(one.lower() for one in Role)}) and one "
                f"of {', '.join(_RESOURCES)}: give for example user:memory=16G"
            )
        resource = _RESOURCES[word]
        if resource in found[Role(role.upper())]:
            raise ValueError(f"{role}:{word} is given twice: keep one")
        found[Role(role.upper())][resource] = parse_amount(resource, amount)
    try:
        return {role: Quota(**limits) for role, limits in found.items()}
    except InvalidInput as error:
        raise ValueError(error.violations[0].description) from None


def parse_amount(resource: str, text: str) -> int:
    """An amount of a resource: "1.5" CPUs, "16G" of memory or disk, "10" sessions. Raises ValueError."""
    if resource in {"memory_bytes", "disk_bytes"}:
        return parse_size(text)
    if not (_DECIMAL if resource == "millicpus" else _WHOLE).fullmatch(text):
        raise ValueError(f"{text!r} is not an amount of {RESOURCE_WORDS[resource]}: give a number from 0 on")
    return round(float(text) * 1000) if resource == "millicpus" else int(text)
