"""Tasks over the wire: netvps.rpc.servicers.scheduling.tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.domain.session.spec import SessionSpec
from netvps.domain.task.spec import TaskSpec
from netvps.errors import NotFound

if TYPE_CHECKING:
    from tests.rpc.site import Site


async def test_tasks_over_the_wire(site: Site) -> None:
    job = TaskSpec(("make",), SessionSpec(image="debian:12", cpus=1.0, env={"A": "1"}))
    made = await site.do(lambda client: client.create_tasks(job, 3))
    assert [(task.index, task.count, task.state, task.job.command) for task in made] == [
        (index, 3, "PENDING", ("make",)) for index in range(3)
    ]
    array = made[0].array
    assert (await site.do(lambda client: client.get_task(made[1].id))).job == job
    listed = await site.do(lambda client: [*client.list_tasks(array=array, page_size=2)])
    assert listed == made
    await site.do(lambda client: client.cancel_tasks(f"{array}-0"))
    left = await site.do(lambda client: [*client.list_tasks(unfinished=True)])
    assert left == made[1:]
    ended = await site.do(lambda client: client.cancel_tasks(array))
    assert [task.state for task in ended] == ["CANCELLED"] * 3
    assert await site.do(lambda client: client.wait_tasks(array)) == (ended, True)
    with pytest.raises(NotFound, match="has no log: cancelled before it was started"):
        await site.do(lambda client: [*client.read_task_logs(f"{array}-0")])
