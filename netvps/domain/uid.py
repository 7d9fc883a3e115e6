"""Unique ids: ordered by time, and short enough for the name of a container."""

from __future__ import annotations

# Crockford's base32 in lower case: without i, l, o and u, which are easily confused.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_EPOCH_MS = 1_704_067_200_000  # 2024-01-01T00:00:00Z
_TIME_BITS = 41  # 69 years of milliseconds
_RANDOM_BITS = 24
UID_LENGTH = 13
UID_PATTERN = f"[{_ALPHABET}]{{{UID_LENGTH}}}"
"""Regular expression that matches an id in full."""


def uid_seconds(uid: str) -> int:
    """The Unix time, in seconds, at which an id was made."""
    number = 0
    for character in uid:
        number = number << 5 | _ALPHABET.index(character)
    return ((number >> _RANDOM_BITS & ((1 << _TIME_BITS) - 1)) + _EPOCH_MS) // 1000


def make_uid(unix_ms: int, random: int) -> str:
    """Makes an id of 13 characters from Unix milliseconds and a random number of at least 24 bits."""
    time = max(unix_ms - _EPOCH_MS, 0) & ((1 << _TIME_BITS) - 1)
    number = time << _RANDOM_BITS | random & ((1 << _RANDOM_BITS) - 1)
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(5 * (UID_LENGTH - 1), -1, -5))
