"""What is put into maps in a real kernel, and what the kernel does not take."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from netvps.adapters.bpf.syscall import HASH
from netvps.adapters.bpf.tables import Table, Tables
from netvps.domain.overlay.kernel.fast_path import FastPath, FastPathConstants, Subnet
from tests.adapters.bpf.kernel import items
from tests.support.namespaces import Namespace

pytestmark = pytest.mark.netns
PATH = FastPath(
    FastPathConstants("02:00:00:00:00:01", "02:42:0a:80:00:01", "255.255.252.0", 1450),
    {"10.128.0.2": "ann", "10.128.4.2": "ann", "10.128.4.3": "bob"},
    {"10.128.4.0": Subnet("02:00:00:00:00:02", open=True), "10.128.8.0": Subnet("02:00:00:00:00:03", open=False)},
)
FIRST, SECOND, THIRD = bytes([10, 128, 0, 2]), bytes([10, 128, 4, 2]), bytes([10, 128, 4, 3])


@pytest.fixture
def tables(place: Namespace) -> Iterator[Tables]:
    with place.inside(), closing(Tables()) as made:
        yield made


def _owners(tables: Tables) -> dict[bytes, bytes]:
    return items(tables.maps.owners, 8)


def test_who_a_session_belongs_to_is_the_same_for_all_of_his_alone(tables: Tables) -> None:
    tables.be(PATH)
    found = _owners(tables)
    assert found.keys() == {FIRST, SECOND, THIRD}
    assert found[FIRST] == found[SECOND] != found[THIRD]


def test_a_subnet_is_its_runners_mac_and_whether_it_is_open(tables: Tables) -> None:
    tables.be(PATH)
    assert items(tables.maps.subnets, 8) == {
        bytes([10, 128, 4, 0]): bytes([2, 0, 0, 0, 0, 2, 1, 0]),
        bytes([10, 128, 8, 0]): bytes([2, 0, 0, 0, 0, 3, 0, 0]),
    }


def test_a_whole_takes_the_place_of_another_and_a_change_leaves_the_rest(tables: Tables) -> None:
    tables.be(PATH)
    before = _owners(tables)
    tables.be(replace(PATH, owners={"10.128.0.2": "ann"}))
    assert _owners(tables) == {FIRST: before[FIRST]}
    tables.change(replace(PATH, owners={}), replace(PATH, owners={"10.128.4.3": "bob"}))
    assert _owners(tables) == {FIRST: before[FIRST], THIRD: before[THIRD]}
    tables.change(replace(PATH, owners={"10.128.0.2": "ann"}), replace(PATH, owners={}))
    assert _owners(tables) == {THIRD: before[THIRD]}


def test_links_are_led_to_as_long_as_they_are_there(place: Namespace, tables: Tables) -> None:
    place.ip("link", "add", "passing", "type", "veth")
    index = int(place.ip("-o", "link", "show", "passing").partition(":")[0])
    tables.lead(1, {"10.128.0.2": index, "10.128.4.2": 999_999})
    assert items(tables.maps.links, 4) == {bytes(4): bytes([1, 0, 0, 0]), FIRST: index.to_bytes(4, "little")}
    place.ip("link", "delete", "passing")
    assert items(tables.maps.links, 4).keys() == {bytes(4)}
    tables.lead(1, {})
    tables.lead(1, {"10.128.0.2": 11})
    assert items(tables.maps.links, 4) == {bytes(4): bytes([1, 0, 0, 0]), FIRST: bytes([11, 0, 0, 0])}


def test_what_does_not_fit_is_not_there_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.adapters.bpf.tables._MANY", 2)
    with closing(Table(HASH, 8, "test")) as table:
        table.be({FIRST: bytes(8), SECOND: bytes(8), THIRD: bytes(8)})
        assert items(table.map.descriptor, 8).keys() == {FIRST, SECOND}
        table.be({THIRD: bytes(8)})
        assert items(table.map.descriptor, 8).keys() == {THIRD}


def test_a_kernel_without_one_kind_of_maps_costs_no_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.adapters.bpf.tables.LINKS", 999)
    gc.collect()  # of other tests
    before = len([*Path("/proc/self/fd").iterdir()])
    with pytest.raises(OSError, match="Invalid argument"):
        Tables()
    assert len([*Path("/proc/self/fd").iterdir()]) == before
