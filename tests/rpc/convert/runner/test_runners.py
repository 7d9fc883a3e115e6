from __future__ import annotations

from hypothesis import given

from netvps.domain.runner.runner import RunnerView
from netvps.rpc.convert.runner.runners import runner_from_proto, runner_to_proto
from tests.rpc.convert import values


@given(values.views)
def test_a_runner_comes_back_as_it_was(view: RunnerView) -> None:
    assert runner_from_proto(runner_to_proto(view)) == view
