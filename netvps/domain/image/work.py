"""What a runner does with images when someone asks and waits, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass

from netvps.domain.image.image import Image, ImageProgress


@dataclass(frozen=True, slots=True)
class ListImages:
    """Lists all images, or looks up one."""

    reference: str = ""


@dataclass(frozen=True, slots=True)
class DeleteImage:
    """Removes an image that nothing uses."""

    reference: str


@dataclass(frozen=True, slots=True)
class PullImage:
    """Pulls an image from its registry."""

    reference: str


ImageWork = ListImages | DeleteImage | PullImage
ImageAnswer = Image | ImageProgress | tuple[Image, ...]
"""Progress, then the image that was made; a tuple is a part of a list."""
