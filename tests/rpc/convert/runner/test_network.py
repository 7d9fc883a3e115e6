from __future__ import annotations

from hypothesis import given

from netvps.domain.finding import Finding
from netvps.domain.overlay.path import Path
from netvps.domain.overlay.settings import Overview
from netvps.rpc.convert.runner.network import (
    finding_from_proto,
    finding_to_proto,
    overview_from_proto,
    overview_to_proto,
    path_from_proto,
    path_to_proto,
)
from tests.rpc.convert import values


@given(values.overviews)
def test_the_overlay_comes_back_as_it_was(overview: Overview) -> None:
    assert overview_from_proto(overview_to_proto(overview)) == overview


@given(values.paths)
def test_a_path_comes_back_as_it_was(path: Path) -> None:
    assert path_from_proto(path_to_proto(path)) == path


@given(values.findings)
def test_a_finding_comes_back_as_it_was(finding: Finding) -> None:
    assert finding_from_proto(finding_to_proto(finding)) == finding
