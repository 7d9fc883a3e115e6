"""Maps a domain enum to an API enum with the same names, apart from the API's prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from enum import StrEnum

    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper

D = TypeVar("D", bound="StrEnum")


class EnumPair(Generic[D]):
    """Converts in both directions. The constructor raises ValueError if the API lacks a member of the domain's enum."""

    def __init__(self, domain: type[D], api: _EnumTypeWrapper[Any], prefix: str) -> None:
        self._names = [prefix + member.value for member in domain]
        self._to = {member: api.Value(prefix + member.value) for member in domain}
        self._from = {number: member for member, number in self._to.items()}

    def to_proto(self, member: D) -> Any:
        """The API's number; Any, because each generated enum has its own NewType."""
        return self._to[member]

    def from_proto(self, number: int, field: str, *, unspecified: D | None = None) -> D:
        """The domain's member; 0 is `unspecified` if given. Raises InvalidInput for any other number."""
        member = self._from.get(number, unspecified if number == 0 else None)
        if member is None:
            raise InvalidInput.of(field, f"{number} is none of {', '.join(self._names)}")
        return member
