"""Which call a transaction records."""

from __future__ import annotations

from netvps.services.auditing import AuditedCall, audited, unrecorded_call


def test_a_call_is_to_be_recorded_once_and_only_while_it_is_served() -> None:
    assert unrecorded_call() is None
    outer, inner = AuditedCall("alice", "local", "A/B"), AuditedCall("bob", "local", "C/D", recorded=True)
    with audited(outer):
        assert unrecorded_call() is outer
        with audited(inner):
            assert unrecorded_call() is None
        assert unrecorded_call() is outer
        outer.recorded = True
        assert unrecorded_call() is None
    outer.recorded = False
    with audited(outer):
        outer.ended = True
        assert unrecorded_call() is None
