"""Calls of ServerService, RunnerService, MetricsService and NetworkService; some converters are imported on demand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from netvps.api.v1 import network_pb2, runner_pb2, server_pb2
from netvps.rpc.client.calls.call import Pages, Stream, Unary, new_request_id, nothing
from netvps.rpc.convert import names
from netvps.rpc.convert.server_info import server_info_from_proto
from netvps.rpc.convert.times import duration_to_proto, time_from_proto

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from netvps.domain.finding import Finding
    from netvps.domain.metrics import MetricSample
    from netvps.domain.overlay.path import Path
    from netvps.domain.overlay.settings import Overview
    from netvps.domain.runner.runner import RunnerView
    from netvps.domain.scheduling.address import AddressReservation
    from netvps.domain.server import ServerInfo


def server_info() -> Unary[ServerInfo]:
    """Public information about the server."""
    request = server_pb2.GetServerInfoRequest()
    return Unary("ServerService/GetServerInfo", request, server_pb2.ServerInfo, server_info_from_proto)


def list_runners(matching: str = "", order_by: str = "") -> Pages[RunnerView]:
    """Runners that match a filter, as of `list_sessions`: "labels.rack=3 -cordoned=true"; without order by name."""
    from netvps.rpc.convert.runner.runners import runner_from_proto

    return Pages(
        "RunnerService/ListRunners",
        runner_pb2.ListRunnersRequest(filter=matching, order_by=order_by),
        runner_pb2.ListRunnersResponse,
        lambda page: map(runner_from_proto, page.runners),
    )


def get_runner(name: str) -> Unary[RunnerView]:
    """One runner."""
    from netvps.rpc.convert.runner.runners import runner_from_proto

    request = runner_pb2.GetRunnerRequest(name=names.runner_name(name))
    return Unary("RunnerService/GetRunner", request, runner_pb2.Runner, runner_from_proto)


def label_runner(name: str, labels: Mapping[str, str], remove: Iterable[str] = ()) -> Unary[RunnerView]:
    """Sets labels of a runner, and removes those with the keys in `remove`."""
    from netvps.rpc.convert.runner.runners import runner_from_proto

    request = runner_pb2.LabelRunnerRequest(
        name=names.runner_name(name), labels=labels, remove=remove, request_id=new_request_id()
    )
    return Unary("RunnerService/LabelRunner", request, runner_pb2.Runner, runner_from_proto)


def create_join_token() -> Unary[tuple[str, datetime]]:
    """Creates a token that lets one machine join, and returns it with its expiry time."""
    request = runner_pb2.CreateJoinTokenRequest(request_id=new_request_id())
    return Unary(
        "RunnerService/CreateJoinToken",
        request,
        runner_pb2.CreateJoinTokenResponse,
        lambda answer: (answer.join_token, time_from_proto(answer, "expire_time")),
    )


def delete_runner(name: str, *, force: bool = False) -> Unary[None]:
    """Removes a runner; with `force` also the sessions placed on it."""
    request = runner_pb2.DeleteRunnerRequest(name=names.runner_name(name), request_id=new_request_id(), force=force)
    return Unary("RunnerService/DeleteRunner", request, runner_pb2.DeleteRunnerResponse, nothing)


def watch_metrics(
    sessions: Sequence[str] = (), runners: Sequence[str] = (), parent: str = ""
) -> Stream[list[MetricSample]]:
    """Yields samples of the named sessions and runners, or of all running sessions of a parent, once a second.

    Yields an empty list after three seconds without a sample.
    """
    from netvps.api.v1 import metrics_pb2
    from netvps.rpc.convert.metrics import samples_from_proto

    named = [*map(names.session_name, sessions), *map(names.runner_name, runners)]
    request = metrics_pb2.WatchMetricsRequest(names=named, parent=names.user_name(parent) if parent else "")
    return Stream("MetricsService/WatchMetrics", request, metrics_pb2.WatchMetricsResponse, samples_from_proto)


def get_network() -> Unary[Overview]:
    """A summary of the overlay."""
    from netvps.rpc.convert.runner.network import overview_from_proto

    request = network_pb2.GetNetworkRequest()
    return Unary("NetworkService/GetNetwork", request, network_pb2.Network, overview_from_proto)


def probe_links(runners: Sequence[str] = ()) -> Stream[Path]:
    """Measures links: all, those of one runner, or those between several. Yields each link once it is measured."""
    from netvps.rpc.convert.runner.network import path_from_proto

    request = network_pb2.ProbeLinksRequest(runners=map(names.runner_name, runners))
    return Stream("NetworkService/ProbeLinks", request, network_pb2.NetworkLink, path_from_proto)


def check_network(sessions: Sequence[str] = ()) -> Unary[list[Finding]]:
    """Diagnoses why two sessions do not reach each other, why one reaches no other, or the whole overlay."""
    from netvps.rpc.convert.runner.network import finding_from_proto

    request = network_pb2.CheckNetworkRequest(sessions=map(names.session_name, sessions))
    return Unary(
        "NetworkService/CheckNetwork",
        request,
        network_pb2.CheckNetworkResponse,
        lambda answer: [finding_from_proto(finding) for finding in answer.findings],
    )


def reserve_address(runner: str, ttl: float, *, request_id: str = "") -> Unary[AddressReservation]:
    """Reserves a free address of a runner for `ttl` seconds, 60 to 1,800, for a session that is created with its token.

    Raises NotFound, WrongState if the runner is not on the overlay, and Exhausted.
    """
    from netvps.rpc.convert.scheduling.addresses import reservation_from_proto

    request = network_pb2.ReserveAddressRequest(
        runner=names.runner_name(runner), ttl=duration_to_proto(ttl), request_id=request_id or new_request_id()
    )
    return Unary("NetworkService/ReserveAddress", request, network_pb2.AddressReservation, reservation_from_proto)
