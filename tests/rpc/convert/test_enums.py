from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from netvps.api.v1 import (
    runner_pb2,
    session_change_pb2,
    session_pb2,
    session_spec_pb2,
    snapshot_files_pb2,
    snapshot_pb2,
    user_pb2,
)
from netvps.domain.session.spec import Network
from netvps.errors import InvalidInput
from netvps.rpc.convert.enums import EnumPair
from netvps.rpc.convert.runner.runners import RUNNER_STATE
from netvps.rpc.convert.session.diffs import CHANGE_KIND
from netvps.rpc.convert.session.event_types import EVENT_TYPE
from netvps.rpc.convert.session.sessions import DESIRED_STATE, NETWORK, SESSION_STATE
from netvps.rpc.convert.session.snapshots import RESTORE_STATE, SNAPSHOT_CAUSE, SNAPSHOT_STATE
from netvps.rpc.convert.users import ROLE

PAIRS: list[tuple[EnumPair[Any], Any]] = [
    (SESSION_STATE, session_pb2.SessionState),
    (DESIRED_STATE, session_pb2.DesiredState),
    (NETWORK, session_spec_pb2.SessionNetwork),
    (SNAPSHOT_STATE, snapshot_pb2.SnapshotState),
    (SNAPSHOT_CAUSE, snapshot_pb2.SnapshotCause),
    (CHANGE_KIND, snapshot_files_pb2.PathChangeKind),
    (RESTORE_STATE, session_change_pb2.RestoreState),
    (EVENT_TYPE, session_pb2.WatchEventType),
    (RUNNER_STATE, runner_pb2.RunnerState),
    (ROLE, user_pb2.Role),
]


@pytest.mark.parametrize(("pair", "api"), PAIRS)
def test_every_number_of_the_api_but_zero_is_a_member_and_back(pair: EnumPair[Any], api: Any) -> None:
    for number in set(api.values()) - {0}:
        assert pair.to_proto(pair.from_proto(number, "f")) == number


@pytest.mark.parametrize("pair", [pair for pair, _ in PAIRS])
@pytest.mark.parametrize("number", [0, 99, -1])
def test_any_other_number_is_an_error(pair: EnumPair[Any], number: int) -> None:
    with pytest.raises(InvalidInput) as error:
        pair.from_proto(number, "spec.network")
    assert error.value.violations[0].field == "spec.network"


def test_zero_may_have_a_meaning() -> None:
    assert NETWORK.from_proto(0, "network", unspecified=Network.DEFAULT) is Network.DEFAULT
    with pytest.raises(InvalidInput):
        NETWORK.from_proto(99, "network", unspecified=Network.DEFAULT)


def test_a_member_that_the_api_lacks_is_found_at_import() -> None:
    class More(StrEnum):
        DEFAULT = "DEFAULT"
        HOST = "HOST"

    with pytest.raises(ValueError, match="SESSION_NETWORK_HOST"):
        EnumPair(More, session_spec_pb2.SessionNetwork, "SESSION_NETWORK_")
