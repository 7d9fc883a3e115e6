"""What a runner does with images when someone asks and waits, and what it answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from netvps.domain.checks import Checks, shown
from netvps.domain.image.image import Image, ImageProgress
from netvps.domain.image.reference import LATEST, check_reference
from netvps.domain.names import ENVIRONMENT_NAME_MAX, check_label
from netvps.domain.runner.docker_names import environment_image
from netvps.errors import InvalidInput

_PATH_MAX: Final = 255
_SUITE: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,39}")
_MIRROR: Final = re.compile(r"https?://[A-Za-z0-9\[][A-Za-z0-9\[\]:._~/%+-]{0,253}")


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


@dataclass(frozen=True, slots=True)
class BuildImage:
    """Builds an image from a Dockerfile in the context that is sent."""

    reference: str
    dockerfile: str = "Dockerfile"

    def __post_init__(self) -> None:
        path = PurePosixPath(self.dockerfile)
        inside = self.dockerfile.isprintable() and not path.is_absolute() and ".." not in path.parts
        if not (inside and 0 < len(self.dockerfile) <= _PATH_MAX):
            raise InvalidInput.of("dockerfile", f"{shown(self.dockerfile)} is not a path in the context")


@dataclass(frozen=True, slots=True)
class BootstrapImage:
    """Builds an environment with debootstrap; '' means what the machine itself has."""

    name: str
    suite: str = ""
    mirror: str = ""

    def __post_init__(self) -> None:
        checks = Checks()
        with checks.nested():
            check_label(self.name, "environment_id", ENVIRONMENT_NAME_MAX)
        suite = not self.suite or bool(_SUITE.fullmatch(self.suite))
        checks.require(suite, "suite", f"{shown(self.suite)} is not a release: give for example bookworm")
        mirror = not self.mirror or bool(_MIRROR.fullmatch(self.mirror))
        checks.require(
            mirror, "mirror", f"{shown(self.mirror)} is not a URL: give http://HOST/PATH or https://HOST/PATH"
        )
        checks.done()


@dataclass(frozen=True, slots=True)
class PublishImage:
    """Makes the environment "netvps/NAME:TAG" of a stopped session."""

    session_uid: str
    environment: str
    tag: str = LATEST

    def __post_init__(self) -> None:
        checks = Checks()
        with checks.nested():
            check_label(self.environment, "environment_id", ENVIRONMENT_NAME_MAX)
        with checks.nested():
            check_reference(self.reference, "tag")
        checks.done()

    @property
    def reference(self) -> str:
        """The name of the image."""
        return environment_image(self.environment, self.tag)


@dataclass(frozen=True, slots=True)
class ImageLog:
    """What a builder says, as it says it."""

    text: str


ImageWork = ListImages | DeleteImage | PullImage | BuildImage | BootstrapImage | PublishImage
ImageAnswer = Image | ImageProgress | ImageLog | tuple[Image, ...]
"""Progress and the builder's words, then the image that was made; a tuple is a part of a list."""
