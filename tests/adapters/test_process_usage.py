"""What processes use, from the real /proc."""

from __future__ import annotations

import os
import subprocess

from netvps.adapters.process_usage import children, cpu_seconds, proportional_bytes


def test_this_process_has_memory_time_and_a_child() -> None:
    me = os.getpid()
    assert cpu_seconds(me) > 0
    assert proportional_bytes(me) > 1 << 20
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        assert child.pid in children(me)
