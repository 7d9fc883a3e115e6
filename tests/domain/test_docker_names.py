from __future__ import annotations

import pytest

from netvps.domain.docker_names import (
    container_name,
    environment_image,
    parse_snapshot_image,
    session_labels,
    snapshot_image,
    snapshot_number,
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
def test_other_images_are_none_of_ours(other: str) -> None:
    assert parse_snapshot_image(other) is None
    assert snapshot_number(other) == 0


def test_labels_tell_whose_placement_it_is() -> None:
    assert session_labels(UID, "runner1", 2, 7) == {
        "netvps.managed": "true",
        "netvps.session_id": UID,
        "netvps.type": "vps",
        "netvps.node": "runner1",
        "netvps.epoch": "2",
        "netvps.generation": "7",
    }
