"""Where an image is, and which runners can run it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from netvps.domain.image.places import ImagePlaces, runs_on
from netvps.domain.runner.runner import Capacity, Runner

NOW = datetime(2026, 11, 30, tzinfo=UTC)


def runner(uid: str, architecture: str) -> Runner:
    return Runner(uid, f"lab{uid}", NOW, NOW, capacity=Capacity(architecture=architecture))


AMD, ARM, UNKNOWN = runner("1", "amd64"), runner("2", "arm64"), runner("3", "")


@pytest.mark.parametrize(
    ("machine", "made_for", "runs"),
    [("amd64", "amd64", True), ("amd64", "386", True), ("arm64", "arm64/v8", True), ("arm64", "arm/v7", True),
     ("amd64", "arm64", False), ("386", "amd64", False), ("", "arm64", True), ("amd64", "", True)],
)  # fmt: skip
def test_machines_run_what_is_for_them(machine: str, made_for: str, runs: bool) -> None:
    assert runs_on(machine, made_for) is runs


def test_an_environment_fits_where_a_runner_has_it_for_that_architecture() -> None:
    places = ImagePlaces("netvps/dev:latest", {"2": "arm64"})
    assert [places.fits(one) for one in (AMD, ARM, UNKNOWN)] == [False, True, True]
    assert [places.has(one) for one in (AMD, ARM, UNKNOWN)] == [False, True, False]
    assert places.why_none([AMD, ARM]) == ""
    assert places.why_none([]) == ""
    assert places.why_none([AMD]) == (
        "image netvps/dev:latest is for arm64, and the runners that could take it are amd64: name an image for amd64,"
        " or add a runner for arm64"
    )


def test_a_registry_may_have_it_for_others() -> None:
    places = ImagePlaces("debian:12", {"2": "arm64/v8"})
    assert [places.fits(one) for one in (AMD, ARM)] == [True, True]
    assert not ImagePlaces("debian:12", {"1": "arm64/v8"}).fits(AMD)  # it has the wrong one
    assert all(ImagePlaces().fits(one) for one in (AMD, ARM, UNKNOWN))
