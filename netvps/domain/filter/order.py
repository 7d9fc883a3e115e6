"""Orders of lists, as in AIP-132: "create_time desc, name"."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from netvps.domain.checks import shown
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from netvps.domain.filter.expression import Fields

MAX_KEYS: Final = 4
_KEY: Final = re.compile(r"\s*(?P<name>[A-Za-z_]+)(?:\s+(?P<way>asc|desc))?\s*")


@dataclass(frozen=True, slots=True)
class Order:
    """Fields, the first one first, each with whether it descends; what is equal is in natural order.

    `after` has their texts at the position where a page starts, or nothing.
    """

    keys: tuple[tuple[str, bool], ...] = ()
    after: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str, fields: Fields[Any], field: str = "order_by") -> Self:
        """Parses an order; '' is the natural one. Raises InvalidInput for `field`, with the column of the error."""
        if not text.strip():
            return cls()
        parts, at = text.split(","), 0
        if len(parts) > MAX_KEYS:
            raise InvalidInput.of(field, f"{len(parts)} fields are more than {MAX_KEYS}: leave some out")
        keys: dict[str, bool] = {}
        for part in parts:
            found = _KEY.fullmatch(part)
            name = found["name"].lower() if found else ""
            where = f"column {at + 1 + len(part) - len(part.lstrip())}"
            if name not in fields.texts:
                known = ", ".join(fields.texts)
                raise InvalidInput.of(
                    field, f"{where}: {shown(part.strip())} is no field, with asc or desc: use {known}"
                )
            if name in keys:
                raise InvalidInput.of(field, f"{where}: {name} comes twice: leave one out")
            keys[name] = found is not None and found["way"] == "desc"
            at += len(part) + 1
        return cls(tuple(keys.items()))

    def values_of(self, resource: Any, fields: Fields[Any]) -> tuple[str, ...]:
        """The texts that place a resource in this order."""
        return tuple(fields.texts[name](resource) for name, _ in self.keys)
