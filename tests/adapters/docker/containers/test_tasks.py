"""The containers of tasks. With a real engine they are tested by tests/e2e/schedulers/test_tasks.py."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import docker.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.adapters.docker.containers.tasks import TaskContainers, frames
from netvps.adapters.docker.errors import ContainerNameTaken
from netvps.domain.runner.docker_names import task_container_name, task_labels
from netvps.domain.session.exec import Stderr

NODE, TASK = "0000000000009", "0000000000001-3"


class Engine:
    """An engine with one container, or none; it is Docker and the containers' adapter at once."""

    create = start = signal = remove = None

    def __init__(self, labels: dict[str, str] | None) -> None:
        self._labels = labels

    async def call(self, _subject: str, function: Callable[[Any], Any]) -> Any:
        return function(SimpleNamespace(inspect_container=self._inspect))

    def seen(self, found: dict[str, Any], owner: str) -> tuple[str, str]:
        return found["Id"], owner

    def _inspect(self, name: str) -> dict[str, Any]:
        assert name == task_container_name(TASK)
        if self._labels is None:
            raise docker.errors.NotFound("no such container")
        return {"Id": "c1", "Config": {"Labels": self._labels}, "State": {"Error": "no such file"}}


def tasks(labels: dict[str, str] | None) -> TaskContainers:
    engine: Any = Engine(labels)
    return TaskContainers(engine, engine, engine, NODE)


async def test_a_task_is_found_with_its_epoch_and_error() -> None:
    assert await tasks(None).find(TASK, "alice") is None
    found: Any = await tasks(task_labels(TASK, NODE, 7)).find(TASK, "alice")
    assert (found.container, found.epoch, found.error) == (("c1", "alice"), 7, "no such file")


@pytest.mark.parametrize("labels", [{}, task_labels(TASK, "000000000000x", 7), task_labels("0000000000002", NODE, 7)])
async def test_a_container_of_another_program_is_left_alone(labels: dict[str, str]) -> None:
    with pytest.raises(ContainerNameTaken, match="is not this runner's"):
        await tasks(labels).find(TASK, "alice")


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=20))), st.integers(0, 30))
def test_frames_of_a_log_are_split_and_a_cut_one_is_left_out(written: list[tuple[bool, bytes]], cut: int) -> None:
    whole = [bytes([1 + apart, 0, 0, 0]) + len(data).to_bytes(4, "big") + data for apart, data in written]
    expected = [Stderr(data) if apart else data for apart, data in written]
    assert list(frames(BytesIO(b"".join(whole)))) == expected
    body = b"".join(whole)
    read = list(frames(BytesIO(body[: max(0, len(body) - cut)])))
    assert read == expected[: len(read)]
