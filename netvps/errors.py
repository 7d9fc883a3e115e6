"""The errors of netvps: one class per remedy of the caller.

    NetvpsError
    ├── InvalidInput         fix the request: every violation is listed, with its field
    ├── NotFound             name an existing resource (also: it exists, but is not visible to the caller)
    ├── AlreadyExists        choose another name, or use the existing resource
    ├── NotPermitted         ask a user with another role
    ├── Unauthenticated      present a credential
    ├── WrongState           do something else first
    ├── Changed              read again, then decide again
    ├── TooOld               list again, then watch
    ├── Exhausted            free something, or wait
    ├── Unavailable          try again
    ├── TimedOut             the operation may still complete; check later
    ├── DataLoss             restore from another copy
    ├── ConfigError          fix the configuration of this program
    └── InternalError        report a bug

    DockerError classes live in netvps/adapters/docker/errors.py; each is one of the above.

Every error has one sentence that says what failed, on what, and what to do; `reason` is for programs
(google.rpc.ErrorInfo.reason, UPPER_SNAKE). `rpc/status.py` maps each class to one gRPC code and back.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Violation:
    """A violated rule: the path of the field ("spec.env[2]"), and a sentence with the value and the rule."""

    field: str
    description: str


class NetvpsError(Exception):
    """Base of all errors that reach a user; `str(error)` is the full sentence, without a traceback."""

    default_reason = "INTERNAL"

    def __init__(self, message: str, *, reason: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason


class InvalidInput(NetvpsError):
    """The request violates rules; `violations` lists all of them."""

    default_reason = "INVALID_INPUT"

    def __init__(self, *violations: Violation, reason: str | None = None) -> None:
        super().__init__("; ".join(f"{v.field}: {v.description}" for v in violations), reason=reason)
        self.violations = violations

    @classmethod
    def of(cls, field: str, description: str) -> InvalidInput:
        """An error with a single violation."""
        return cls(Violation(field, description))


class NotFound(NetvpsError):
    """The resource does not exist or is not visible to the caller; the two are indistinguishable."""

    default_reason = "NOT_FOUND"


class AlreadyExists(NetvpsError):
    """The name, key or request id is in use."""

    default_reason = "ALREADY_EXISTS"


class NotPermitted(NetvpsError):
    """The caller is authenticated but not authorised."""

    default_reason = "NOT_PERMITTED"


class Unauthenticated(NetvpsError):
    """No credential, or one that is unknown, used up or expired."""

    default_reason = "UNAUTHENTICATED"


class WrongState(NetvpsError):
    """The resource exists, but its state does not allow this."""

    default_reason = "WRONG_STATE"


class Changed(NetvpsError):
    """The resource changed since the caller read it (expected_revision)."""

    default_reason = "CHANGED"


class TooOld(NetvpsError):
    """The revision to resume from was compacted."""

    default_reason = "REVISION_COMPACTED"


class Exhausted(NetvpsError):
    """No capacity, address, disk space or quota is left; the message says what is free where."""

    default_reason = "EXHAUSTED"


class Unavailable(NetvpsError):
    """A dependency is temporarily unavailable."""

    default_reason = "UNAVAILABLE"


class TimedOut(NetvpsError):
    """The call did not complete in the allowed time."""

    default_reason = "TIMED_OUT"


class DataLoss(NetvpsError):
    """A stored copy is damaged."""

    default_reason = "DATA_LOSS"


class ConfigError(NetvpsError):
    """A setting of this program, or what it refers to, is wrong."""

    default_reason = "CONFIG"


class InternalError(NetvpsError):
    """A bug in netvps; the log has the details under the request id."""
