"""Metrics in Prometheus' format: durations as they are observed, gauges as of each scrape.

Labels are kinds and states, never names: the page has the same few hundred lines for ten sessions and for a thousand,
and reveals nothing about users.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from netvps.timing import Step

Count = Literal["sessions", "runners", "streams", "queue_length"]

CONTENT_TYPE: Final[str] = CONTENT_TYPE_LATEST
# Seconds: from reading the store to pulling an image.
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_DURATIONS: Final[dict[Step, tuple[str, str, str]]] = {
    "store": ("netvps_store_seconds", "Transactions of the store, including the wait for their turn", "operation"),
    "runner_step": ("netvps_runner_step_seconds", "Actions of the runner for a session", "step"),
    "gateway_login": ("netvps_gateway_login_seconds", "From an SSH connection to its shell", "outcome"),
    "gateway_dial": ("netvps_gateway_dial_seconds", "Time to connect to a session", "way"),
    "http_request": ("netvps_http_request_seconds", "HTTP connections to sessions, from begin to end", "status"),
}
_COUNTS: Final[dict[Count, tuple[str, str, str]]] = {
    "sessions": ("netvps_sessions", "Sessions", "state"),
    "runners": ("netvps_runners", "Runners", "state"),
    "streams": ("netvps_streams", "Open connections", "kind"),
    "queue_length": ("netvps_queue_length", "Waiting items", "queue"),
}


# Otherwise each histogram has one more series, its creation time; process_start_time_seconds suffices.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's annotation lacks "-> None"


class Metrics:
    """The metrics of one process."""

    def __init__(self, version: str) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        build = Gauge("netvps_build_info", "Always 1; its label is the version", ["version"], registry=self._registry)
        build.labels(version).set(1)
        self._durations = {
            step: Histogram(name, text, [label], buckets=_BUCKETS, registry=self._registry)
            for step, (name, text, label) in _DURATIONS.items()
        }
        self._counts: dict[Count, Gauge] = {}

    def observe_duration(self, step: Step, which: str, seconds: float) -> None:
        """Records a duration: a timing.Observer."""
        self._durations[step].labels(which).observe(seconds)

    def show(self, count: Count, values: Mapping[str, float]) -> None:
        """Sets a gauge's current values by label; labels missing in `values` disappear."""
        if count not in self._counts:
            name, text, label = _COUNTS[count]
            self._counts[count] = Gauge(name, text, [label], registry=self._registry)
        gauge = self._counts[count]
        gauge.clear()
        for label, value in values.items():
            gauge.labels(label).set(value)

    def page(self) -> bytes:
        """Renders all metrics as text of CONTENT_TYPE."""
        return generate_latest(self._registry)
