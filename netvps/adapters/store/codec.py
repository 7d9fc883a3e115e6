"""Encodes resources as JSON and decodes them exactly, with one cached pydantic adapter per domain dataclass.

Fields that an older version did not write get their defaults; fields that this version no longer has are ignored.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from netvps.errors import DataLoss, InvalidInput

T = TypeVar("T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_REMEMBERED, _SHORT = 4096, 4096  # resources, and characters of each: about 20 MB


def encode(resource: Any) -> str:
    """Encodes a frozen dataclass as JSON."""
    kind: Any = type(resource)
    return _adapter(kind).dump_json(resource).decode()


def decode(kind: type[T], data: str) -> T:
    """Decodes a dataclass. Raises DataLoss if the text is not of that kind.

    Equal texts usually return the same object: most of what is read was read before and has not changed.
    """
    value: T = (_decode_again if len(data) <= _SHORT else _decode)(cast("Any", kind), data)
    return value


def _decode(kind: type[T], data: str) -> T:
    try:
        value: T = _adapter(cast("Any", kind)).validate_json(data)
    except (ValidationError, InvalidInput) as error:
        what = error.errors(include_url=False, include_input=False) if isinstance(error, ValidationError) else error
        raise DataLoss(
            f"the database holds a {kind.__name__} that this program cannot read ({what}); "
            "run the version of netvps that wrote it, or restore a backup"
        ) from error
    return value


_decode_again = lru_cache(_REMEMBERED)(_decode)


def to_micros(time: datetime) -> int:
    """Converts a time with a zone to microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """Converts microseconds since 1970 to UTC."""
    return _EPOCH + micros * _MICROSECOND


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
