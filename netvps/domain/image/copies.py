"""Copies of images from runner to runner: what is asked for, and what is missing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from netvps.domain.checks import Checks, shown
from netvps.domain.image.reference import check_reference

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A request for a part of an image, to be answered on the stream with this id."""

    stream_id: str
    reference: str
    image: str = ""
    """Its id; '' with a layer of '': the description is meant."""
    layer: str = ""
    """The digest of a layer's uncompressed content."""
    offset: int = 0

    def __post_init__(self) -> None:
        """Raises InvalidInput."""
        checks = Checks()
        with checks.nested():
            check_reference(self.reference)
        for field, digest in (("image_digest", self.image), ("layer_digest", self.layer)):
            sound = not digest or bool(_DIGEST.fullmatch(digest))
            checks.require(sound, field, f"{shown(digest)} is not sha256: and 64 hexadecimal digits")
        paired = bool(self.image) == bool(self.layer)
        checks.require(paired, "layer_digest", "give image_digest and layer_digest, or neither")
        checks.require(self.offset >= 0, "offset", f"{self.offset} is less than 0")
        checks.done()


@dataclass(frozen=True, slots=True)
class MissingLayer:
    """A layer to transfer: its size, and how much of it has arrived before, in bytes."""

    digest: str
    size: int
    have: int
