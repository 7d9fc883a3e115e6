"""Programs at links, in a real kernel; judged by tc."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from netvps.adapters.bpf.assembly import R0, assembled, leave, move
from netvps.adapters.bpf.classifiers import Classifier, attach, attached, detach
from netvps.adapters.bpf.syscall import Program
from netvps.errors import Unavailable
from tests.support.namespaces import Namespace

pytestmark = pytest.mark.netns
ONE, TWO, NOWHERE = 11, 12, 999_999
"""Indexes of links, in the namespace `place`."""


@pytest.fixture(autouse=True)
def _inside(place: Namespace) -> Iterator[None]:
    with place.inside():
        yield
        detach((ONE, TWO))


@pytest.fixture
def programs() -> Iterator[tuple[Program, Program]]:
    code = assembled([move(R0, -1), leave()])
    with closing(Program(code, "first")) as first, closing(Program(code, "second")) as second:
        yield first, second


def _shown(place: Namespace, link: str) -> str:
    return place.run("tc", "filter", "show", "dev", link, "ingress")


def test_a_program_is_at_its_links_by_name(place: Namespace, programs: tuple[Program, Program]) -> None:
    first, second = programs
    assert attach({}) == set()
    assert attach({ONE: ("ours/a", first), TWO: ("ours/b", second)}) == {ONE, TWO}
    assert f"ours/a direct-action not_in_hw id {first.id}" in _shown(place, "one")
    assert f"ours/b direct-action not_in_hw id {second.id}" in _shown(place, "two")
    ours = {Classifier(ONE, "ours/a", first.id), Classifier(TWO, "ours/b", second.id)}
    assert {*attached("ours/")} == ours
    assert attached("others/") == []


def test_another_takes_its_place(place: Namespace, programs: tuple[Program, Program]) -> None:
    first, second = programs
    attach({ONE: ("ours/a", first)})
    attach({ONE: ("ours/b", second)})
    assert attached("") == [Classifier(ONE, "ours/b", second.id)]
    assert "ours/a" not in _shown(place, "one")


def test_a_missing_link_is_ignored(programs: tuple[Program, Program]) -> None:
    assert attach({NOWHERE: ("ours/a", programs[0]), ONE: ("ours/a", programs[0])}) == {ONE}
    detach((NOWHERE, ONE, ONE))
    assert attached("") == []


def test_what_the_kernel_refuses_is_said(programs: tuple[Program, Program]) -> None:
    gone = Program(assembled([move(R0, -1), leave()]), "gone")
    gone.close()
    with pytest.raises(Unavailable, match=r"cannot attach a BPF program .*(Bad file descriptor|Invalid argument)"):
        attach({ONE: ("ours/a", programs[0]), TWO: ("ours/a", gone)})


def test_what_is_others_stays(place: Namespace, programs: tuple[Program, Program]) -> None:
    attach({ONE: ("ours/a", programs[0])})
    place.run(
        *["tc", "filter", "add", "dev", "one", "ingress", "prio", "2", "bpf", "bytecode"], "1,6 0 0 0", "flowid", "1:1"
    )
    detach((ONE,))
    detach((ONE, TWO))
    assert "ours" not in _shown(place, "one")
    assert "pref 2 bpf" in _shown(place, "one")
    place.run(*["tc", "filter", "delete", "dev", "one", "ingress"])
