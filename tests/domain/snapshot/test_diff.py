"""What differs between two states."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.snapshot.diff import ChangeKind, Count, DiffScope, PathChange, Tally, Trait, compare
from netvps.errors import InvalidInput

ADDED, CHANGED, REMOVED = ChangeKind.ADDED, ChangeKind.CHANGED, ChangeKind.REMOVED
GONE = Trait(0, gone=True)


def _compared(before: dict[str, Trait], after: dict[str, Trait], *image: str) -> dict[str, ChangeKind]:
    tally = Tally(DiffScope(1000))
    compare(before, after, set(image).__contains__, tally)
    return {change.path: change.kind for change in tally.result(incomplete=False).paths}


def test_two_states_over_the_same_image() -> None:
    before = {"/old": Trait(1, ("a",)), "/same": Trait(1, ("b",)), "/edited": Trait(1, ("c",)), "/was-gone": GONE}
    after = {
        "/same": Trait(1, ("b",)),
        "/edited": Trait(9, ("d",)),
        "/new": Trait(2, ("e",)),
        "/etc": Trait(4096, ("f",), folder=True),
        "/etc/hosts": Trait(3, ("g",)),
        "/etc/motd": GONE,
    }
    assert _compared(before, after, "/etc", "/etc/hosts", "/etc/motd", "/was-gone") == {
        "/old": REMOVED,
        "/edited": CHANGED,
        "/new": ADDED,
        "/etc/hosts": CHANGED,
        "/etc/motd": REMOVED,
        "/was-gone": ADDED,
    }


@given(st.dictionaries(st.sampled_from(["/a", "/b", "/c/d"]), st.builds(Trait, st.integers(0, 9))))
def test_a_state_does_not_differ_from_itself(state: dict[str, Trait]) -> None:
    assert _compared(state, state) == {}


def test_the_biggest_come_first_and_folders_are_summed_up() -> None:
    tally = Tally(DiffScope(max_paths=2, folder_depth=2))
    for path, size in (("/var/lib/a/x", 5), ("/var/lib/b", 7), ("/etc/c", 6), ("/d", 1)):
        tally.add(PathChange(path, ADDED, size))
    tally.add(PathChange("/var/lib/gone", REMOVED))
    tally.add(PathChange("/var/cache/apt", CHANGED, 99, excluded=True))
    found = tally.result(incomplete=True)
    assert [change.path for change in found.paths] == ["/var/cache/apt", "/var/lib/b"]
    assert [(one.path, one.count, one.size_bytes) for one in found.folders] == [("/var/lib", 3, 12), ("/etc", 1, 6)]
    assert (found.added, found.changed, found.removed) == (Count(4, 19), Count(), Count(1))
    assert found.excluded == Count(1, 99)
    assert found.incomplete


def test_a_scope_has_limits() -> None:
    assert (DiffScope().paths, DiffScope().depth) == (50, 2)
    with pytest.raises(InvalidInput) as failed:
        DiffScope(1001, -1)
    assert [violation.field for violation in failed.value.violations] == ["max_paths", "folder_depth"]
