"""Labels that admins set, over those of the machine."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from netvps.domain.runner.labels import by_key, relabelled, with_reported
from netvps.domain.runner.runner import Runner
from netvps.errors import InvalidInput, WrongState

NOW = datetime(2026, 5, 4, tzinfo=UTC)
MACHINE = with_reported(Runner("uid", "box1", NOW, NOW), ("rack=1", "gpu=yes", "rack=2"))


def test_the_first_of_a_key_holds() -> None:
    assert by_key(MACHINE.labels) == {"rack": "1", "gpu": "yes"}


def test_labels_of_admins_come_first_and_survive_a_restart_of_the_machine() -> None:
    labelled = relabelled(MACHINE, {"rack": "9", "ssd": ""}, ())
    assert labelled.labels == ("gpu=yes", "rack=9", "ssd=")
    restarted = with_reported(labelled, ("rack=3", "new=x"))
    assert restarted.labels == ("new=x", "rack=9", "ssd=")
    assert relabelled(restarted, {}, ("rack", "ssd", "none")).labels == ("new=x", "rack=3")


def test_what_its_machine_sets_is_removed_there() -> None:
    with pytest.raises(WrongState, match="label gpu of runner box1 is set on its machine: start netvps runner there"):
        relabelled(MACHINE, {}, ["gpu"])


def test_errors_come_together() -> None:
    with pytest.raises(InvalidInput) as caught:
        relabelled(MACHINE, {"UP": "x", "a": "b c", "rack": "1"}, {"rack"})
    assert [one.field for one in caught.value.violations] == ["labels['UP']", "labels['a']", "remove['rack']"]
    with pytest.raises(InvalidInput, match="more than 32"):
        relabelled(MACHINE, {f"l{number}": "" for number in range(33)}, ())
