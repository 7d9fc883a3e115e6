"""An array, as Slurm has: one command COUNT times, each with another NETVPS_TASK_INDEX.

    python3 examples/job_array.py 8 -- sh -c 'echo "part $NETVPS_TASK_INDEX of 8"'

All tasks are created in one call. Prints the output of each in the order of the index.
"""

from __future__ import annotations

import asyncio
import sys

from server import endpoint

from netvps.client import AsyncClient, Stdout, TaskSpec, TaskState


async def main(count: int, command: list[str]) -> int:
    """Runs the parts; the exit code is the number of those that failed."""
    async with AsyncClient(endpoint()) as client:
        tasks = await client.create_tasks(TaskSpec(tuple(command)), count)
        ended = False
        while not ended:
            tasks, ended = await client.wait_tasks(tasks[0].array)  # answers after a minute, too
        for task in tasks:
            async for piece in client.read_task_logs(task.id):
                if isinstance(piece, Stdout):
                    print(piece.data.decode(errors="replace"), end="")
    return sum(task.state is not TaskState.SUCCEEDED for task in tasks)


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]), sys.argv[3:])))
