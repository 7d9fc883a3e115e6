"""`netvps sim` on three runners.

So it is the test of netvps.programs.sim.enrolment and netvps.programs.sim.runner, too.
"""

from __future__ import annotations

import pytest

from netvps.client import AsyncClient, SessionState, TaskSpec, TaskState
from netvps.programs.sim.behaviour import Behaviour
from netvps.programs.sim.simulation import fill, simulated


@pytest.mark.e2e
async def test_sessions_run_stop_and_go_on_simulated_runners() -> None:
    async with simulated(3, Behaviour(seed=7)) as simulation, AsyncClient(simulation.endpoint) as client:
        assert "12 sessions are created" in await fill(client, 12)
        placed = [session.runner_name async for session in client.list_sessions()]
        assert sorted({*placed}) == ["lab0", "lab1", "lab2"]
        await client.stop_session("sim-1")
        await client.wait("sim-1", SessionState.STOPPED, timeout=30)
        await client.delete_session("sim-2")
        await client.wait("sim-2", SessionState.DELETED, timeout=30)
        tasks, ended = await client.create_tasks(TaskSpec(("make",)), 5), False
        while not ended:
            tasks, ended = await client.wait_tasks(tasks[0].array)
        assert {(task.state, task.exit_code) for task in tasks} == {(TaskState.SUCCEEDED, 0)}
        folder = simulation.folders.state
    assert not folder.exists()
