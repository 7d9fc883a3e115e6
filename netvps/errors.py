"""The errors of netvps, one class for each thing a caller can do about it.

    NetvpsError
    ├── InvalidInput         mend the request: every violation is listed, with its field
    ├── NotFound             name another thing (also: it is there, but not yours)
    ├── AlreadyExists        choose another name, or take what is there
    ├── NotPermitted         ask somebody with another role
    ├── Unauthenticated      present a credential
    ├── WrongState           do something else first
    ├── Changed              read again, then decide again
    ├── TooOld               list again, then watch
    ├── Exhausted            free something, or wait
    ├── Unavailable          try again
    ├── TimedOut             it goes on without you; look later
    ├── DataLoss             restore from another copy
    ├── ConfigError          mend the configuration of this program
    └── InternalError        report a bug
    DockerError classes live in netvps/adapters/docker/errors.py; each is one of the above.

Every error has one sentence that says what happened, to what, and what to do; `reason` is for programs
(google.rpc.ErrorInfo.reason, UPPER_SNAKE). `rpc/status.py` maps each class to one gRPC code and back.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """One broken rule: the path of the field ("spec.env[2]"), and a sentence with the value and the rule."""

    field: str
    description: str


class NetvpsError(Exception):
    """Root of all errors that reach a user; `str(error)` is the whole sentence, without a traceback."""

    default_reason = "INTERNAL"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason


class InvalidInput(NetvpsError):
    """The request breaks rules; `violations` lists all of them."""

    default_reason = "INVALID_INPUT"

    def __init__(self, *violations: Violation, reason: str | None = None) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations), reason=reason)
        self.violations = violations

    @classmethod
    def of(cls, field: str, description: str) -> InvalidInput:
        """A single violation."""
        return cls(Violation(field, description))


class NotFound(NetvpsError):
    """There is no such thing, or it is not the caller's to see: the two look the same."""

    default_reason = "NOT_FOUND"


class AlreadyExists(NetvpsError):
    """The name, key or request id is taken."""

    default_reason = "ALREADY_EXISTS"


class NotPermitted(NetvpsError):
    """The caller is known, and may not."""

    default_reason = "NOT_PERMITTED"


class Unauthenticated(NetvpsError):
    """No credential, or one that is unknown, used up or expired."""

    default_reason = "UNAUTHENTICATED"


class WrongState(NetvpsError):
    """The thing is there, and not in a state for this."""

    default_reason = "WRONG_STATE"


class Changed(NetvpsError):
    """The thing changed since the caller read it (expected_revision)."""

    default_reason = "CHANGED"


class TooOld(NetvpsError):
    """The revision to resume from was compacted."""

    default_reason = "REVISION_COMPACTED"


class Exhausted(NetvpsError):
    """No capacity, address, disk space or quota is left; the message says what is free where."""

    default_reason = "EXHAUSTED"


class Unavailable(NetvpsError):
    """Something needed is away for now."""

    default_reason = "UNAVAILABLE"


class TimedOut(NetvpsError):
    """It took longer than allowed."""

    default_reason = "TIMED_OUT"


class DataLoss(NetvpsError):
    """A stored copy is damaged."""

    default_reason = "DATA_LOSS"


class ConfigError(NetvpsError):
    """A setting of this program, or what it names, is wrong."""

    default_reason = "CONFIG"


class InternalError(NetvpsError):
    """A bug of netvps; the log has the details under the request id."""
