from __future__ import annotations

import pytest

from netvps.api.v1 import user_pb2 as pb
from netvps.domain.access.quota import NO_LIMIT, RESOURCES, Amounts, Quota, QuotaUse
from netvps.errors import InvalidInput
from netvps.rpc.convert.access.quotas import (
    path_of,
    quota_from_proto,
    quota_to_proto,
    resource_of,
    use_from_proto,
    use_to_proto,
)
from netvps.rpc.convert.users import update_from_proto


@pytest.mark.parametrize("quota", [Quota(), Quota(1, 2500, 3, 4, 5), Quota(*(NO_LIMIT,) * 5), Quota(0, 0, 0, 0, 0)])
def test_a_quota_comes_back(quota: Quota) -> None:
    assert quota_from_proto(quota_to_proto(quota)) == quota


def test_cpus_are_a_number() -> None:
    assert quota_to_proto(Quota(millicpus=2500)) == pb.Quota(cpus=2.5)
    assert quota_to_proto(Quota(millicpus=NO_LIMIT)) == pb.Quota(cpus=-1)


def test_the_use_comes_back() -> None:
    found = QuotaUse(Quota(*(NO_LIMIT,) * 5), Amounts(1, 2, 3, 4, 5))
    assert use_from_proto(use_to_proto(found)) == found


def test_paths_of_a_mask() -> None:
    assert [resource_of(path_of(resource)) for resource in RESOURCES] == list(RESOURCES)
    assert [resource_of(path) for path in ("role", "cpus", "quota.millicpus", "quota.x", "quota")] == [None] * 5


def test_only_what_the_mask_names_changes() -> None:
    request = pb.UpdateUserRequest(name="users/bob", role=pb.ROLE_ADMIN, quota=pb.Quota(sessions=3, cpus=1))
    assert update_from_proto(request).quota == {}
    request.update_mask.paths.extend(["quota.cpus", "quota.gpus"])
    parsed = update_from_proto(request)
    assert (parsed.role, parsed.quota) == (None, {"millicpus": 1000, "gpus": None})


def test_bad_changes_name_their_fields() -> None:
    request = pb.UpdateUserRequest(name="bob", quota=pb.Quota(gpus=-2, cpus=float("nan")))
    request.update_mask.paths.extend(["role", "quota.gpus", "name"])
    with pytest.raises(InvalidInput) as refused:
        update_from_proto(request)
    assert [one.field for one in refused.value.violations] == ["name", "role", "update_mask", "quota.gpus"]


@pytest.mark.parametrize("cpus", [float("nan"), float("inf"), -0.5, 1e300])
def test_cpus_that_are_no_limit_are_refused(cpus: float) -> None:
    request = pb.UpdateUserRequest(name="users/bob", quota=pb.Quota(cpus=cpus))
    request.update_mask.paths.append("quota.cpus")
    with pytest.raises(InvalidInput, match=r"quota\.cpus"):
        update_from_proto(request)
