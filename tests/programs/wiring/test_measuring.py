"""What the control plane says of itself, over HTTP."""

from __future__ import annotations

import asyncio
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from netvps.adapters.metrics import Metrics
from netvps.domain.session.spec import SessionSpec
from netvps.programs.wiring.control_plane import build
from netvps.programs.wiring.measuring import MetricsPage
from netvps.rpc.client.client import Client, Endpoint
from netvps.settings import ServerSettings, load


def _scrape(port: int) -> dict[tuple[str, str], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        page = answer.read().decode()
    families = text_string_to_metric_families(page)
    return {(s.name, next(iter(s.labels.values()), "")): s.value for family in families for s in family.samples}


def _create(socket: str, name: str) -> None:
    with Client(Endpoint(f"unix:{socket}")) as client:
        client.create_session(name, spec=SessionSpec(image="debian"))


async def test_a_control_plane_tells_of_its_sessions(server_flags: dict[str, str]) -> None:
    settings = load(ServerSettings, server_flags)
    settings.paths.prepare()
    async with build(settings) as plane:
        await asyncio.to_thread(_create, str(settings.paths.api_socket), "waiting")
        found = await asyncio.to_thread(_scrape, settings.http_port)
        await plane.stop()
    assert found["netvps_sessions", "PENDING"] == 1
    assert found["netvps_sessions", "RUNNING"] == 0
    assert found["netvps_runners", "ONLINE"] == 0
    assert found["netvps_store_seconds_count", "write"] > 0
    streams = {label for name, label in found if name == "netvps_streams"}
    assert streams == {"runner_link", "agent_control", "dial_back", "http", "ssh", "watch"}
    assert found["netvps_queue_length", "store_writers"] == 0


async def test_who_asks_often_costs_nothing() -> None:
    reads: list[Metrics] = []

    async def read(metrics: Metrics) -> None:
        reads.append(metrics)

    page = MetricsPage(read)
    first, second = await asyncio.gather(page.content(), page.content())
    assert first == second
    assert reads == [page.metrics]
