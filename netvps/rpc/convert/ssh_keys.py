"""SSH public keys of users."""

from __future__ import annotations

from dataclasses import dataclass

from netvps.api.v1 import ssh_key_pb2 as pb
from netvps.domain.access.accounts import SshKey
from netvps.domain.access.ssh_key import PublicKey, check_title
from netvps.domain.checks import Checks
from netvps.rpc.convert import names
from netvps.rpc.convert.times import time_from_proto, time_to_proto


@dataclass(frozen=True, slots=True)
class CreateSshKey:
    """The key to register, for its owner ('' is the caller); '' as title takes the key's comment."""

    key: PublicKey
    owner: str
    title: str
    request_id: str


def create_from_proto(message: pb.CreateSshKeyRequest) -> CreateSshKey:
    """Parses the request. Raises InvalidInput."""
    checks = Checks()
    key, owner = PublicKey("", "", ""), ""
    with checks.nested():
        owner = names.parse_owner(message.parent, "parent")
    with checks.nested():
        key = PublicKey.parse(message.public_key)
    check_title(checks, message.title)
    with checks.nested():
        names.check_request_id(message.request_id)
    checks.done()
    return CreateSshKey(key, owner, message.title, message.request_id)


def ssh_key_to_proto(key: SshKey) -> pb.SshKey:
    """Converts all fields."""
    return pb.SshKey(
        name=names.ssh_key_name(key.owner, key.uid),
        public_key=key.public_key,
        fingerprint=key.fingerprint,
        title=key.title,
        create_time=time_to_proto(key.create_time),
        revision=key.revision,
    )


def ssh_key_from_proto(message: pb.SshKey) -> SshKey:
    """Parses a key. Raises InvalidInput."""
    owner, uid = names.parse_ssh_key_name(message.name)
    return SshKey(
        uid=uid,
        owner=owner,
        public_key=message.public_key,
        fingerprint=message.fingerprint,
        title=message.title,
        create_time=time_from_proto(message, "create_time"),
        revision=message.revision,
    )
