from __future__ import annotations

import pytest

from netvps.domain.runner.docker_names import (
    container_name,
    environment_image,
    is_isolated_network,
    is_named_for,
    is_session_container,
    is_unfinished_image,
    isolated_bridge,
    isolated_network,
    parse_snapshot_image,
    session_labels,
    session_of,
    snapshot_image,
    snapshot_number,
    unfinished_image,
    volume_name,
)

UID = "0123456789abc"


def test_names_are_those_of_the_design() -> None:
    assert container_name(UID) == f"netvps-vps-{UID}"
    assert environment_image("default") == "netvps/default:latest"
    assert snapshot_image(UID, 1777863721) == f"netvps-snapshot/vps-{UID}:1777863721"


def test_a_snapshot_reads_back() -> None:
    assert parse_snapshot_image(snapshot_image(UID, 5)) == (UID, 5)
    assert snapshot_number(snapshot_image(UID, 5)) == 5


@pytest.mark.parametrize("other", ["", "debian:12", f"netvps-snapshot/vps-{UID}", f"netvps-snapshot/vps-{UID}:x"])
def test_foreign_images_are_left_alone(other: str) -> None:
    assert parse_snapshot_image(other) is None
    assert snapshot_number(other) == 0


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("container", container_name(UID)),
        ("container", f"{container_name(UID)}-flatten"),
        ("image", snapshot_image(UID, 5)),
        ("image", unfinished_image(UID, "0123456789abd-files")),
        ("volume", volume_name(UID, "/var/lib/data")),
    ],
)
def test_every_name_that_is_given_is_known_again(kind: str, name: str) -> None:
    labels = session_labels(UID, "runner1", 1, 1)
    assert session_of(kind, name, labels, "runner1") == UID
    assert session_of(kind, name, labels, "runner2") is None
    assert session_of(kind, name, {}, "runner1") is None
    assert session_of(kind, name, labels | {"netvps.session_id": "0123456789abd"}, "runner1") is None
    assert not is_named_for(UID, kind, f"{name}x") or kind == "image"
    assert not is_named_for(UID, kind, f"x{name}")
    assert not is_named_for(UID, kind, "golden")


def test_an_unfinished_snapshot_is_none() -> None:
    assert is_unfinished_image(unfinished_image(UID, "s1"))
    assert not is_unfinished_image(snapshot_image(UID, 5))
    assert parse_snapshot_image(unfinished_image(UID, "s1")) is None


def test_a_session_s_container_is_known_whoever_runs_it() -> None:
    labels = session_labels(UID, "runner1", 1, 1)
    assert is_session_container(container_name(UID), labels)
    assert not is_session_container("golden", labels)
    assert not is_session_container(container_name(UID), None)


def test_labels_tell_whose_placement_it_is() -> None:
    assert session_labels(UID, "runner1", 2, 7) == {
        "netvps.managed": "true",
        "netvps.session_id": UID,
        "netvps.type": "vps",
        "netvps.node": "runner1",
        "netvps.epoch": "2",
        "netvps.generation": "7",
    }


def test_an_owner_has_a_network_of_its_own_on_each_runner() -> None:
    names = {isolated_network(node, owner) for node in ("runner1", "runner2") for owner in ("ann", "bob")}
    assert len(names) == 4
    assert all(map(is_isolated_network, names))
    assert not is_isolated_network("netvps-net")
    assert {len(isolated_bridge(name)) for name in names} == {15}
    assert len({isolated_bridge(name) for name in names}) == 4
