"""Differences of a real session's files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from netvps.domain.snapshot.diff import ChangeKind, Diff, DiffOrder, DiffScope
from netvps.domain.snapshot.policy import SnapshotPolicy
from netvps.errors import NotFound, WrongState
from tests.adapters.docker.bench import Bench, opened_bench

pytestmark = pytest.mark.docker
OTHER, WHOLE = "0000000000002", "0000000000003"
ADDED, CHANGED, REMOVED = ChangeKind.ADDED, ChangeKind.CHANGED, ChangeKind.REMOVED
WRITES = (
    "mkdir /new && head -c 100000 /dev/zero >/new/big && ln /new/big /new/same && echo x >>/etc/passwd && rm -r /tmp"
)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    async with opened_bench(tmp_path) as made:
        yield made


async def _diff(bench: Bench, from_uid: str = "", to_uid: str = "", *excluded: str) -> Diff:
    return await bench.engine.diff(bench.assignment.session_uid, DiffOrder(from_uid, to_uid, DiffScope(1000), excluded))


def _kinds(diff: Diff) -> dict[str, ChangeKind]:
    return {change.path: change.kind for change in diff.paths}


async def test_what_a_session_wrote_and_what_changed_since_a_snapshot(bench: Bench) -> None:
    container = await bench.lived(bench.assignment.spec.image, WRITES)
    first = await _diff(bench)
    kinds = _kinds(first)
    assert {path: kinds[path] for path in ("/new", "/new/big", "/etc/passwd", "/tmp")} == {
        "/new": ADDED,
        "/new/big": ADDED,
        "/etc/passwd": CHANGED,
        "/tmp": REMOVED,
    }
    assert "/etc" not in kinds  # it is only where the change is
    assert 100_000 <= first.added.size_bytes < 120_000  # the second name takes no space
    excluded = await _diff(bench, "", "", "/new")
    assert (excluded.excluded.count, [one.path for one in excluded.paths if one.excluded][:1]) == (2, ["/new/big"])
    uid, session = bench.assignment.session_uid, bench.assignment
    assert await bench.engine.take_snapshot(session, uid, container, lambda: False)
    assert _kinds(await _diff(bench, uid)) == {}
    upper = Path(container.files)
    (upper / "new/big").unlink()
    (upper / "new/more").write_text("more")
    (upper / "etc/passwd").write_text("")
    assert _kinds(await _diff(bench, uid)) == {"/new/big": REMOVED, "/new/more": ADDED, "/etc/passwd": CHANGED}
    await bench.engine.remove(container)
    assert _kinds(await _diff(bench, "", uid)).keys() >= {"/new/big", "/etc/passwd", "/tmp"}
    with pytest.raises(WrongState, match="start it"):
        await _diff(bench)
    with pytest.raises(NotFound):
        await _diff(bench, "0000000000009")


async def test_what_a_session_excludes_is_not_in_its_snapshots_and_copies(bench: Bench) -> None:
    container = await bench.lived(
        bench.assignment.spec.image, "mkdir -p /new/cache /keep && echo x >/new/cache/y && echo x >/keep/z"
    )
    policy = SnapshotPolicy(("/new",))
    assignment = replace(bench.assignment, spec=replace(bench.assignment.spec, snapshot_policy=policy))
    uid = bench.assignment.session_uid
    assert await bench.engine.copy(assignment, container, lambda: False)
    assert await bench.engine.take_snapshot(assignment, uid, container, lambda: False)
    found = _kinds(await _diff(bench, "", uid))
    assert {path for path in found if path.startswith(("/new", "/keep"))} == {"/new", "/keep", "/keep/z"}
    saved = await bench.engine.keep_snapshot(assignment, OTHER, container.run)
    assert saved is not None
    assert saved.warnings == ("it leaves out what is below /new, as the session asks",)
    assert await bench.engine.take_snapshot(
        bench.assignment, WHOLE, container, lambda: False
    )  # the copy lacks what this one has
    assert "/new/cache/y" in _kinds(await _diff(bench, "", WHOLE))
