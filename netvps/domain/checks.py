"""Collects all violations of an input, so that a user can fix them in one go."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from netvps.errors import InvalidInput, Violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_LABEL_KEY: Final = re.compile(r"[a-z0-9]([-a-z0-9_./]*[a-z0-9])?")
_MAX_LABELS, _MAX_LABEL_KEY, _MAX_LABEL_VALUE = 32, 63, 255


class Checks:
    """Validates one input: call `require` for each rule, then `done`, which raises InvalidInput with all violations."""

    def __init__(self) -> None:
        self._violations: list[Violation] = []

    def require(self, holds: bool, field: str, description: str) -> None:
        """Records a violation unless the rule holds; `description` gives the value and the rule."""
        if not holds:
            self._violations.append(Violation(field, description))

    @contextmanager
    def nested(self, field: str = "") -> Iterator[None]:
        """Adds the violations of an InvalidInput raised inside, with their fields prefixed by `field`."""
        try:
            yield
        except InvalidInput as error:
            for violation in error.violations:
                path = ".".join(part for part in (field, violation.field) if part)
                self._violations.append(Violation(path, violation.description))

    def done(self) -> None:
        """Raises InvalidInput if any rule was broken."""
        if self._violations:
            raise InvalidInput(*self._violations)


def check_labels(checks: Checks, labels: Mapping[str, str]) -> None:
    """Records violations of the rules for an owner's labels."""
    checks.require(len(labels) <= _MAX_LABELS, "labels", f"more than {_MAX_LABELS} labels")
    for key, value in labels.items():
        path = f"labels[{shown(key)}]"
        checks.require(
            len(key) <= _MAX_LABEL_KEY and bool(_LABEL_KEY.fullmatch(key)),
            path,
            f"a key is up to {_MAX_LABEL_KEY} of a-z, 0-9, '-_./', with a letter or digit first and last",
        )
        checks.require(
            len(value) <= _MAX_LABEL_VALUE and value.isprintable(),
            path,
            f"a value is up to {_MAX_LABEL_VALUE} printable characters",
        )


def shown(value: object, limit: int = 60) -> str:
    """A value for an error message: escaped, so that it carries no terminal sequences, and truncated."""
    text = ascii(value)
    return text if len(text) <= limit else f"{text[:limit]}…"
