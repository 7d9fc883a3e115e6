"""The page that Prometheus reads, read back by Prometheus' own parser."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from netvps.adapters.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, str], float]:
    """(name, first label's value) → value."""
    families = text_string_to_metric_families(metrics.page().decode())
    return {(s.name, next(iter(s.labels.values()), "")): s.value for family in families for s in family.samples}


def test_durations_are_counted_by_step() -> None:
    metrics = Metrics("1.2.3")
    metrics.observe_duration("runner_step", "create", 0.2)
    metrics.observe_duration("runner_step", "create", 0.4)
    metrics.observe_duration("store", "write", 0.001)
    found = samples(metrics)
    assert found["netvps_runner_step_seconds_count", "create"] == 2
    assert abs(found["netvps_runner_step_seconds_sum", "create"] - 0.6) < 1e-9
    assert found["netvps_store_seconds_count", "write"] == 1
    assert not [name for name, _ in found if name.endswith("_created")]
    assert found["netvps_build_info", "1.2.3"] == 1
    assert found["process_resident_memory_bytes", ""] > 1 << 20


def test_a_count_is_what_it_is_now() -> None:
    metrics = Metrics("1")
    metrics.show("sessions", {"RUNNING": 3, "FAILED": 1})
    metrics.show("sessions", {"RUNNING": 2})
    found = samples(metrics)
    assert found["netvps_sessions", "RUNNING"] == 2
    assert ("netvps_sessions", "FAILED") not in found


def test_processes_do_not_share_numbers() -> None:
    one, other = Metrics("1"), Metrics("1")
    one.observe_duration("store", "read", 0.1)
    assert ("netvps_store_seconds_count", "read") not in samples(other)
