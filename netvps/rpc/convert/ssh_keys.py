"""SSH public keys of users."""

from __future__ import annotations

from netvps.api.v1 import ssh_key_pb2 as pb
from netvps.domain.access.accounts import SshKey
from netvps.rpc.convert import names
from netvps.rpc.convert.times import time_from_proto, time_to_proto


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
