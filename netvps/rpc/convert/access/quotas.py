"""Quotas of users. CPUs are a number in the API, thousandths here."""

from __future__ import annotations

from netvps.api.v1 import user_pb2 as pb
from netvps.domain.access.quota import MAX, NO_LIMIT, RESOURCES, Amounts, Quota, QuotaUse

_CPUS, _MILLICPUS = "cpus", "millicpus"


def quota_to_proto(quota: Quota | Amounts) -> pb.Quota:
    """Converts all fields that are set."""
    message = pb.Quota()
    for resource in RESOURCES:
        value = getattr(quota, resource)
        if value is None:
            continue
        if resource == _MILLICPUS:
            message.cpus = value if value == NO_LIMIT else value / 1000
        else:
            setattr(message, resource, value)
    return message


def values_from_proto(message: pb.Quota) -> dict[str, int | None]:
    """The fields by resource; None for those that are not set."""
    values: dict[str, int | None] = {}
    for resource in RESOURCES:
        field = _CPUS if resource == _MILLICPUS else resource
        value = getattr(message, field) if message.HasField(field) else None  # type: ignore[arg-type]  # one of them
        if value is not None and resource == _MILLICPUS:
            value = _thousandths(value)
        values[resource] = value
    return values


def _thousandths(cpus: float) -> int:
    """Also of a number that is no limit, as a value that Quota refuses."""
    if cpus == NO_LIMIT:
        return NO_LIMIT
    return round(cpus * 1000) if 0 <= cpus < MAX // 1000 else NO_LIMIT - 1


def quota_from_proto(message: pb.Quota) -> Quota:
    """Parses a quota. Raises InvalidInput."""
    return Quota(**values_from_proto(message))


def use_to_proto(found: QuotaUse) -> pb.UserQuota:
    """Converts all fields."""
    return pb.UserQuota(limits=quota_to_proto(found.limits), use=quota_to_proto(found.use))


def use_from_proto(message: pb.UserQuota) -> QuotaUse:
    """Parses it. Raises InvalidInput."""
    return QuotaUse(quota_from_proto(message.limits), Amounts(**values_from_proto(message.use)))


def path_of(resource: str) -> str:
    """The path of a resource in an update mask."""
    return f"quota.{_CPUS if resource == _MILLICPUS else resource}"


def resource_of(path: str) -> str | None:
    """The resource of a path of an update mask, "quota.cpus"; None for any other text."""
    field = path.removeprefix("quota.")
    resource = _MILLICPUS if field == _CPUS else field
    return resource if field not in {path, _MILLICPUS} and resource in RESOURCES else None
