from __future__ import annotations

import threading

import pytest

from netvps.hanging import HangingCall


async def test_a_call_that_hangs_has_one_thread_and_is_answered_later() -> None:
    answers, calls = threading.Event(), []

    def call() -> int:
        calls.append(threading.current_thread())
        answers.wait(10)
        return len(calls)

    hanging = HangingCall(call, name="hanging test", seconds=0.01)
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await hanging.result()
    answers.set()
    calls[0].join()
    assert await hanging.result() == 1
    assert await hanging.result() == 2


async def test_an_error_is_raised_where_the_result_is_awaited() -> None:
    def call() -> int:
        raise OSError("no")

    hanging = HangingCall(call, name="hanging test", seconds=10)
    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            await hanging.result()
