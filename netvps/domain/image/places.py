"""Where an image is, as far as that is known, and which runners can run it; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from netvps.domain.image.reference import is_environment

if TYPE_CHECKING:
    from netvps.domain.runner.runner import Runner

_RUNS_TOO: Final = {("amd64", "386"), ("arm64", "arm")}
"""Architectures of machines and of images that those run as well."""


def runs_on(machine: str, made_for: str) -> bool:
    """Whether a machine of an architecture can run an image for another ("arm64/v8"), as far as both are known."""
    kind = made_for.partition("/")[0]
    return not made_for or not machine or kind == machine or (machine, kind) in _RUNS_TOO


@dataclass(frozen=True, slots=True)
class ImagePlaces:
    """The runners that have an image. What a runner was not asked is unknown, and what is known may be old."""

    reference: str = ""
    held: Mapping[str, str] = field(default_factory=dict)
    """The architecture of the image on each runner that has it, by uid."""

    def has(self, runner: Runner) -> bool:
        """Whether a runner has the image, and can run it."""
        return runner.uid in self.held and self.fits(runner)

    def fits(self, runner: Runner) -> bool:
        """Whether a runner can run the image that it has, or would get.

        A registry may have the image for several architectures. An environment is only on runners.
        """
        machine = runner.capacity.architecture
        if runner.uid in self.held:
            return runs_on(machine, self.held[runner.uid])
        if is_environment(self.reference) and self.held:
            return any(runs_on(machine, made_for) for made_for in self.held.values())
        return True

    def why_none(self, runners: Iterable[Runner]) -> str:
        """Why none of these runners can run the image; '' if one can."""
        asked = list(runners)
        if not asked or any(self.fits(runner) for runner in asked):
            return ""
        made_for = ", ".join(sorted(set(self.held.values())))
        machines = ", ".join(sorted({runner.capacity.architecture for runner in asked}))
        return (
            f"image {self.reference} is for {made_for}, and the runners that could take it are {machines}: name an "
            f"image for {machines}, or add a runner for {made_for}"
        )
