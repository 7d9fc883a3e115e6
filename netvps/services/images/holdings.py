"""What runners last said of their images, for the scheduler. In memory: it is a hint, and nothing is lost with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.domain.image.places import ImagePlaces
from netvps.domain.image.reference import same_reference

if TYPE_CHECKING:
    from netvps.domain.image.image import Image


class ImageHoldings:
    """The images of runners, by uid: the latest answers, each in place of an earlier one."""

    def __init__(self) -> None:
        self._images: dict[str, dict[str, str]] = {}
        """Architectures by reference."""

    def note(self, runner_uid: str, images: tuple[Image, ...]) -> None:
        """Takes all images of a runner."""
        self._images[runner_uid] = {image.reference: image.architecture for image in images}

    def add(self, runner_uid: str, image: Image) -> None:
        """Takes an image that a runner has made."""
        self._images.setdefault(runner_uid, {})[image.reference] = image.architecture

    def keep_only(self, runner_uids: frozenset[str]) -> None:
        """Forgets all other runners: they were removed."""
        for uid in self._images.keys() - runner_uids:
            del self._images[uid]

    def knows(self, runner_uid: str) -> bool:
        """Whether a runner has answered."""
        return runner_uid in self._images

    def has(self, runner_uid: str, reference: str) -> bool:
        """Whether a runner has an image."""
        return any(same_reference(one, reference) for one in self._images.get(runner_uid, ()))

    def places(self, reference: str) -> ImagePlaces:
        """The runners with an image."""
        held = {
            uid: made_for
            for uid, images in self._images.items()
            for name, made_for in images.items()
            if same_reference(name, reference)
        }
        return ImagePlaces(reference, held)
