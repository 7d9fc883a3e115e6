from __future__ import annotations

import pytest
from hypothesis import given

from netvps.api.v1 import link_pb2 as pb
from netvps.api.v1 import runner_pb2
from netvps.domain.runner.runner import RunnerHello
from netvps.errors import InvalidInput
from netvps.rpc.convert.runner.link import (
    FromRunner,
    ToRunner,
    from_runner_from_proto,
    from_runner_to_proto,
    hello_from_proto,
    hello_to_proto,
    to_runner_from_proto,
    to_runner_to_proto,
)
from tests.rpc.convert import values


@given(values.hellos)
def test_a_hello_comes_back_as_it_was(hello: RunnerHello) -> None:
    assert hello_from_proto(hello_to_proto(hello)) == hello


@given(values.heartbeats | values.reports | values.probe_reports | values.metrics_reports | values.copy_reports)
def test_what_a_runner_says_comes_back_as_it_was(message: FromRunner) -> None:
    assert from_runner_from_proto(from_runner_to_proto(message)) == message


@given(
    values.welcomes
    | values.assignments
    | values.caught_up
    | values.netmap_updates
    | values.log_requests
    | values.probe_requests
    | values.metrics_requests
    | values.copy_orders
    | values.copy_requests
)
def test_what_a_runner_hears_comes_back_as_it_was(message: ToRunner) -> None:
    assert to_runner_from_proto(to_runner_to_proto(message)) == message


def test_what_a_newer_control_plane_says_is_passed_over() -> None:
    assert to_runner_from_proto(pb.ConnectResponse()) is None


@pytest.mark.parametrize("message", [pb.ConnectRequest(), pb.ConnectRequest(hello=pb.RunnerHello())])
def test_a_hello_comes_first_and_names_its_process(message: pb.ConnectRequest) -> None:
    with pytest.raises(InvalidInput, match="hello"):
        hello_from_proto(message)


def test_an_underlay_is_checked_where_it_comes_in() -> None:
    bad = runner_pb2.Underlay(addresses=["192.0.2.1", "0.0.0.0", "host"], mtu=90_000)
    hello = pb.RunnerHello(instance_id="x", underlay=bad)
    with pytest.raises(InvalidInput) as caught:
        hello_from_proto(pb.ConnectRequest(hello=hello))
    paths = ["addresses[1]", "addresses[2]", "mtu"]
    assert [v.field for v in caught.value.violations] == [f"hello.underlay.{path}" for path in paths]
    with pytest.raises(InvalidInput, match=r"heartbeat\.underlay\.addresses"):
        from_runner_from_proto(pb.ConnectRequest(heartbeat=pb.Heartbeat(underlay=runner_pb2.Underlay(mtu=1450))))


def test_a_hello_comes_once_and_states_are_known() -> None:
    with pytest.raises(InvalidInput, match="only heartbeat and the reports"):
        from_runner_from_proto(pb.ConnectRequest(hello=pb.RunnerHello(instance_id="x")))
    with pytest.raises(InvalidInput, match=r"report\.state"):
        from_runner_from_proto(pb.ConnectRequest(report=pb.SessionReport()))
