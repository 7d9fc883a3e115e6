"""Images that runners should have before a session needs them; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from netvps.domain.checks import shown
from netvps.domain.image.reference import check_reference
from netvps.errors import InvalidInput

if TYPE_CHECKING:
    from netvps.domain.runner.runner import Runner

_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9._/-]{0,61}[a-z0-9])?=[A-Za-z0-9._/-]{0,63}")
LABELS_MAX: Final = 32


def check_label_pair(text: str, field: str = "label") -> str:
    """The label "KEY=VALUE" of a runner. Raises InvalidInput."""
    if _LABEL.fullmatch(text):
        return text
    raise InvalidInput.of(field, f"{shown(text)} is not KEY=VALUE, for example gpu=yes")


@dataclass(frozen=True, slots=True)
class ImageAhead:
    """An image for the runners with a label; for all, if that is ''."""

    reference: str
    label: str = ""
    """KEY=VALUE."""

    @classmethod
    def parse(cls, text: str) -> ImageAhead:
        """Parses IMAGE or IMAGE@KEY=VALUE. Raises InvalidInput."""
        reference, _, label = text.rpartition("@")
        if not reference or "=" not in label:
            return cls(check_reference(text, "image"))
        return cls(check_reference(reference, "image"), check_label_pair(label))

    def is_for(self, runner: Runner) -> bool:
        """Whether a runner should have it."""
        return not runner.no_sessions and (not self.label or self.label in runner.labels)
