"""Times and durations: aware datetimes in UTC with microseconds; seconds as float with nanoseconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from google.protobuf.message import Message

_NANO = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_to_proto(time: datetime) -> Timestamp:
    """A Timestamp."""
    microseconds = (time - _EPOCH) // timedelta(microseconds=1)
    return Timestamp(seconds=microseconds // 1_000_000, nanos=microseconds % 1_000_000 * 1000)


def time_from_proto(message: Message, field: str) -> datetime:
    """The required Timestamp `field` of a message. Raises InvalidInput if it is unset or out of range."""
    if not message.HasField(field):
        raise InvalidInput.of(field, "it is not set: a time is required")
    stamp: Timestamp = getattr(message, field)
    try:
        return _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)
    except OverflowError:
        raise InvalidInput.of(field, f"{stamp.seconds} seconds are outside the years 1 to 9999") from None


def optional_time_from_proto(message: Message, field: str) -> datetime | None:
    """The Timestamp `field` of a message; None if it is unset."""
    return time_from_proto(message, field) if message.HasField(field) else None


def duration_to_proto(seconds: float) -> Duration:
    """A Duration."""
    nanos = round(seconds * _NANO)
    sign = -1 if nanos < 0 else 1
    return Duration(seconds=sign * (abs(nanos) // _NANO), nanos=sign * (abs(nanos) % _NANO))


def duration_from_proto(duration: Duration) -> float:
    """Seconds."""
    return (duration.seconds * _NANO + duration.nanos) / _NANO
