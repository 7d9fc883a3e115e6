"""Metrics in Prometheus' form: durations as they come, everything else as it is when somebody asks.

Labels are kinds and states, never names: a page has the same few hundred lines with ten sessions and with a thousand,
and tells nothing about anybody.
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
# Seconds: from a read of the store to the pull of an image.
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_DURATIONS: Final[dict[Step, tuple[str, str, str]]] = {
    "store": ("netvps_store_seconds", "Transactions of the store, waiting for their turn included", "operation"),
    "runner_step": ("netvps_runner_step_seconds", "Steps that the runner takes for a session", "step"),
    "gateway_login": ("netvps_gateway_login_seconds", "From an SSH connection to a shell behind it", "outcome"),
    "gateway_dial": ("netvps_gateway_dial_seconds", "Until there is a connection into a session", "way"),
}
_COUNTS: Final[dict[Count, tuple[str, str, str]]] = {
    "sessions": ("netvps_sessions", "Sessions", "state"),
    "runners": ("netvps_runners", "Runners", "state"),
    "streams": ("netvps_streams", "Connections that are open", "kind"),
    "queue_length": ("netvps_queue_length", "What waits", "queue"),
}


# A series more for each histogram, which says when it began: process_start_time_seconds does.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library forgot a None


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

    def took(self, step: Step, which: str, seconds: float) -> None:
        """Notes a duration: a timing.Observer."""
        self._durations[step].labels(which).observe(seconds)

    def show(self, count: Count, values: Mapping[str, float]) -> None:
        """How many there are now, by label; what `values` does not name is not shown any more."""
        if count not in self._counts:
            name, text, label = _COUNTS[count]
            self._counts[count] = Gauge(name, text, [label], registry=self._registry)
        gauge = self._counts[count]
        gauge.clear()
        for label, value in values.items():
            gauge.labels(label).set(value)

    def page(self) -> bytes:
        """All of it as text, of CONTENT_TYPE."""
        return generate_latest(self._registry)
