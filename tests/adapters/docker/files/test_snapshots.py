"""Snapshots keep files and configuration, whole, and not deeper than they must be."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from netvps import faults
from netvps.adapters.docker.errors import ContainerNotFound, DiskFull, ImageExportFailed, ImageImportFailed
from netvps.adapters.docker.files.snapshots import Snapshots, _whole, imported
from netvps.adapters.docker.files.written import need
from netvps.domain.runner.docker_names import container_name, unfinished_image
from tests.adapters.docker.bench import Bench, opened_bench


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened_bench(tmp_path) as made:
        yield made


@pytest.mark.docker
@pytest.mark.parametrize("flatten", [False, True])
async def test_the_images_configuration_is_kept(bench: Bench, flatten: bool) -> None:
    container = await bench.lived(bench.assignment.spec.image, "echo kept > /root/file")
    snapshot = await bench.commit("s1", container, flatten=flatten)
    config = await bench.config(snapshot.image)
    assert config["Entrypoint"] == ["/bin/sh", "-c"]
    assert config["Cmd"] == ["echo hello"]
    assert config["User"] == "nobody"
    assert config["WorkingDir"] == "/tmp"
    assert "A=1" in config["Env"]
    assert config["Labels"]["mine"] == "yes"
    assert "80/tcp" in config["ExposedPorts"]
    seen = await bench.engine.inspect(bench.assignment)
    assert [(image.snapshot, image.run) for image in seen.saved] == [(snapshot, container.run)]


@pytest.mark.docker
async def test_thirty_cycles_are_bounded_in_depth_and_lose_nothing(bench: Bench) -> None:
    image, deepest = bench.assignment.spec.image, 0
    for number in range(30):
        container = await bench.lived(image, f"echo {number} >> /root/file")
        snapshot = await bench.commit(f"s{number}", container, flatten=container.layers >= 25)
        deepest = max(deepest, snapshot.layers)
        image = snapshot.image
        await bench.engine.remove(container)
    assert deepest <= 25
    container = await bench.lived(image, "cat /root/file")
    lines = [piece async for piece in bench.engine.logs(bench.assignment.session_uid, 100, follow=False)]
    assert b"".join(lines).split() == [str(number).encode() for number in range(30)]
    await bench.engine.erase(bench.assignment.session_uid)
    assert await bench.engine.owned() == frozenset()


@pytest.mark.docker
async def test_a_snapshot_is_replaced_by_one_of_one_layer(bench: Bench) -> None:
    container = await bench.lived(bench.assignment.spec.image, "echo kept > /root/file")
    await bench.commit("s1", container, flatten=False)
    await bench.engine.remove(container)
    (deep,) = (await bench.engine.inspect(bench.assignment)).saved
    flat = await bench.engine.flatten("s2", bench.assignment, deep, lambda: False)
    assert flat is not None
    assert (flat.layers, flat.uid) == (1, "s2")
    config, before = await bench.config(flat.image), await bench.config(deep.snapshot.image)
    assert {**config, "Labels": 0} == {**before, "Labels": 0}
    newest = (await bench.engine.inspect(bench.assignment)).newest
    assert newest is not None
    assert (newest.snapshot, newest.run) == (flat, container.run)
    await bench.engine.prune((deep,))
    container = await bench.lived(flat.image, "cat /root/file")
    assert b"kept" in b"".join(
        [piece async for piece in bench.engine.logs(bench.assignment.session_uid, 9, follow=False)]
    )
    later = datetime.now(UTC) + timedelta(hours=1)
    assert [
        piece async for piece in bench.engine.logs(bench.assignment.session_uid, 9, follow=False, since=later)
    ] == []


@pytest.mark.docker
async def test_a_flattening_that_is_given_up_leaves_nothing_and_keeps_out_others_till_then(bench: Bench) -> None:
    """Enough bytes that it is in the middle of them."""
    container = await bench.lived(bench.assignment.spec.image, "head -c 64000000 /dev/urandom > /root/file")
    await bench.commit("s1", container, flatten=False)
    await bench.engine.remove(container)
    (deep,) = (await bench.engine.inspect(bench.assignment)).saved
    reached, go_on = threading.Event(), threading.Event()

    def given_up() -> bool:
        reached.set()
        return go_on.wait(20)

    async with asyncio.TaskGroup() as group:
        first = group.create_task(bench.engine.flatten("s2", bench.assignment, deep, given_up))
        assert await asyncio.to_thread(reached.wait, 20)
        assert await bench.engine.flatten("s3", bench.assignment, deep, lambda: False) is None
        go_on.set()
    assert first.result() is None
    assert [image["RepoTags"] for image in await bench.images()] == [[deep.snapshot.image]]
    assert await bench.containers() == []


@pytest.mark.docker
async def test_what_a_flattening_left_in_the_middle_goes_before_the_next_start(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = await bench.lived(bench.assignment.spec.image, "echo kept > /root/file")
    await bench.commit("s1", container, flatten=False)
    await bench.engine.remove(container)
    (deep,) = (await bench.engine.inspect(bench.assignment)).saved
    with monkeypatch.context() as patch:
        patch.setattr(Snapshots, "_remove_helper", lambda *_: None)  # as if it had died
        patch.setattr(faults, "_FOLDER", tmp_path)
        (tmp_path / "flatten.imported").write_text("raise")
        with pytest.raises(faults.InjectedFault):
            await bench.engine.flatten("s2", bench.assignment, deep, lambda: False)
    assert len(await bench.containers()) == 1
    await bench.lived(deep.snapshot.image, "cat /root/file")
    assert len(await bench.containers()) == 1


@pytest.mark.docker
@pytest.mark.parametrize(
    ("point", "flatten"), [("commit.made", False), ("commit.verified", False), ("flatten.imported", True)]
)
async def test_what_a_broken_off_snapshot_left_goes_with_the_next_one(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str, flatten: bool
) -> None:
    container = await bench.lived(bench.assignment.spec.image, "echo kept > /root/file")
    monkeypatch.setattr(faults, "_FOLDER", tmp_path)
    (tmp_path / point).write_text("raise")
    with pytest.raises(faults.InjectedFault):
        await bench.commit("s1", container, flatten=flatten)
    part = "s1-files" if flatten else "s1"
    assert [image["RepoTags"] for image in await bench.images()] == [
        [unfinished_image(bench.assignment.session_uid, part)]
    ]
    snapshot = await bench.commit("s2", container, flatten=False)
    assert [image["RepoTags"] for image in await bench.images()] == [[snapshot.image]]


@pytest.mark.docker
async def test_what_a_broken_off_snapshot_left_is_tidied_away_and_nothing_else(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = await bench.lived(bench.assignment.spec.image, "echo kept > /root/file")
    monkeypatch.setattr(faults, "_FOLDER", tmp_path)
    (tmp_path / "commit.verified").write_text("raise")
    with pytest.raises(faults.InjectedFault):
        await bench.commit("s1", container, flatten=False)
    await bench.engine.tidy(bench.assignment)
    assert await bench.images() == []
    snapshot = await bench.commit("s2", container, flatten=False)
    await bench.engine.remove(container)
    stopped = replace(bench.assignment, snapshot=snapshot)
    repository, _, tag = snapshot.image.rpartition(":")
    await bench.docker.call(snapshot.image, lambda api: api.tag(bench.assignment.spec.image, repository, tag))
    await bench.engine.tidy(stopped)  # its name was taken by hand, and its owner's files are in there
    await bench.engine.erase(bench.assignment.session_uid)  # and without the record of it, nothing says whose it is
    assert [image["Id"] for image in await bench.images()] == [snapshot.digest]
    await bench.engine.erase(bench.assignment.session_uid, snapshot.digest)
    assert await bench.images() == []


@pytest.mark.docker
async def test_the_image_that_a_container_stands_on_stays_without_its_name(bench: Bench) -> None:
    first = await bench.lived(bench.assignment.spec.image, "echo kept > /root/file")
    snapshot = await bench.commit("s1", first, flatten=False)
    await bench.engine.remove(first)
    second = await bench.lived(snapshot.image, "echo more > /root/more")
    repository, _, tag = snapshot.image.rpartition(":")
    await bench.docker.call(snapshot.image, lambda api: api.tag(bench.assignment.spec.image, repository, tag))
    assert [image["RepoTags"] for image in await bench.images()] == [["<none>:<none>"]]
    assert (await bench.commit("s2", second, flatten=False)).layers == snapshot.layers + 1
    await bench.engine.erase(bench.assignment.session_uid, snapshot.digest)


@pytest.mark.docker
async def test_an_image_made_by_hand_of_a_session_outlives_it(bench: Bench) -> None:
    """A container of a commit has all labels of the session, and so have the commits, with and without a name."""
    container = await bench.lived(bench.assignment.spec.image, "echo kept > /root/file")
    golden, theirs = f"{bench.assignment.spec.image}-golden", f"{bench.node}-theirs"

    def make(api: Any) -> tuple[str, ...]:
        named = api.commit(container.id, repository=golden.partition(":")[0], tag=golden.partition(":")[2])["Id"]
        nameless = api.commit(container.id)["Id"]
        made = api.create_container(golden, name=theirs, entrypoint=["/bin/sleep"], command=["60"])["Id"]
        api.start(made)
        return named, nameless, made

    named, nameless, made = await bench.docker.call("commit", make)
    try:
        await bench.commit("s1", container, flatten=False)
        await bench.engine.tidy(bench.assignment)
        await bench.engine.erase(bench.assignment.session_uid)
        assert await bench.engine.owned() == frozenset()
        assert {image["Id"] for image in await bench.images()} == {named, nameless}
        found = await bench.docker.call(theirs, lambda api: api.inspect_container(made))
        assert found["State"]["Running"]
    finally:
        await bench.docker.call(theirs, lambda api: api.remove_container(made, force=True))
        for image in (named, nameless):
            await bench.docker.call(image, partial(_remove_image, image))


def _remove_image(image: str, api: Any) -> None:
    api.remove_image(image, force=True)


@pytest.mark.docker
async def test_logs_of_another_container_of_that_name_are_not_given_away(bench: Bench) -> None:
    name = container_name(bench.assignment.session_uid)
    made = await bench.docker.call(name, lambda api: api.create_container(bench.assignment.spec.image, name=name)["Id"])
    try:
        with pytest.raises(ContainerNotFound, match="not this runner's"):
            [piece async for piece in bench.engine.logs(bench.assignment.session_uid, 1, follow=False)]
    finally:
        await bench.docker.call(name, lambda api: api.remove_container(made))


def test_what_cannot_fit_is_refused_with_the_numbers() -> None:
    with pytest.raises(DiskFull, match=r"needs up to .* MiB and .* MiB are free"):
        need(1 << 60, "/")


def test_an_export_that_broke_off_is_not_imported() -> None:
    with pytest.raises(ImageExportFailed):
        list(_whole(iter([b"x" * 4096])))
    assert b"".join(_whole(iter([b"x" * 512, bytes(1024)]))) == b"x" * 512 + bytes(1024)


def test_an_import_says_its_image_or_why_not() -> None:
    assert imported(json.dumps({"status": "sha256:1"})) == "sha256:1"
    with pytest.raises(ImageImportFailed, match="broken"):
        imported(json.dumps({"error": "broken"}))
    with pytest.raises(ImageImportFailed):
        imported("")
