"""Maps and programs in a real kernel."""

from __future__ import annotations

import errno
import platform
from contextlib import closing

import pytest

from netvps.adapters.bpf.assembly import R0, assembled, leave, load, move
from netvps.adapters.bpf.syscall import HASH, LINKS, Map, Program
from tests.adapters.bpf.kernel import items, run
from tests.support.namespaces import Namespace

pytestmark = pytest.mark.netns
ONE, TWO, THREE = b"\0\0\0\1", b"\0\0\0\2", b"\0\0\0\3"
HERE, NOWHERE = (1).to_bytes(4, "little"), (999_999).to_bytes(4, "little")


def test_a_map_has_what_was_put_and_not_dropped() -> None:
    with closing(Map(HASH, 8, 2, "test")) as made:
        made.put(ONE, b"original")
        made.put(ONE, b"replaced")
        made.put(TWO, b"leftover")
        made.drop(TWO)
        made.drop(TWO)
        assert items(made.descriptor, 8) == {ONE: b"replaced"}


def test_a_full_map_says_so() -> None:
    with closing(Map(HASH, 8, 2, "test")) as made:
        for key in (ONE, TWO):
            made.put(key, bytes(8))
        with pytest.raises(OSError, match="too long") as refused:
            made.put(THREE, bytes(8))
        assert refused.value.errno == errno.E2BIG


def test_a_map_of_links_has_only_those_that_are_there(place: Namespace) -> None:
    with place.inside(), closing(Map(LINKS, 4, 8, "test")) as made:
        made.put(ONE, HERE)
        with pytest.raises(OSError, match="Invalid argument"):
            made.put(TWO, NOWHERE)
        place.ip("link", "add", "passing", "type", "veth")
        index = int(place.ip("-o", "link", "show", "passing").partition(":")[0])
        made.put(THREE, index.to_bytes(4, "little"))
        assert items(made.descriptor, 4).keys() == {ONE, THREE}
        place.ip("link", "delete", "passing")
        assert items(made.descriptor, 4).keys() == {ONE}


def test_a_program_is_loaded_and_runs() -> None:
    with closing(Program(assembled([move(R0, 3), leave()]), "test")) as made:
        assert made.id > 0
        assert run(made.descriptor, bytes(64), 1)[0] == 3


def test_what_the_verifier_refuses_comes_with_its_words() -> None:
    with pytest.raises(PermissionError, match=r"R0 (!read_ok|invalid mem access)"):
        Program(assembled([load(0, R0, R0, 0), leave()]), "test")


def test_where_the_call_is_not_known_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "abacus")
    with pytest.raises(OSError, match="not known for abacus"):
        Map(HASH, 8, 2, "test")
