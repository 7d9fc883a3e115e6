"""RegistrationService over real connections.

So it is the test of netvps.rpc.convert.access.registration and netvps.rpc.client.calls.registration, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from netvps.api.v1 import registration_pb2 as pb
from netvps.domain.access.accounts import Role
from netvps.domain.access.audit import AuditQuery
from netvps.domain.access.invitations import InvitationState
from netvps.domain.server import Registration
from netvps.errors import InvalidInput, NotFound, NotPermitted, Unauthenticated
from netvps.rpc.client.channel import Endpoint
from netvps.rpc.client.trust import fetch_server_info
from netvps.rpc.convert.access.registration import create_from_proto
from tests.fakes.keys import ed25519

if TYPE_CHECKING:
    from netvps.domain.access.audit import AuditEvent
    from tests.rpc.site import Site

KEY = ed25519(7)


async def records(site: Site) -> list[AuditEvent]:
    found = await site.do(lambda client: list(client.list_audit_records(AuditQuery(100))))
    return [each.event for each in found if each.event.action.startswith("RegistrationService/")]


async def test_a_person_is_invited_and_comes_in(site: Site) -> None:
    made, token = await site.do(lambda client: client.create_invitation(Role.USER, ttl=3600, note="Ann"))
    stranger = Endpoint(site.api_address, site.ca.certificate)
    user, secret = await site.do(lambda client: client.register_user("ann", KEY, token), stranger)
    assert (user.name, user.role) == ("ann", Role.USER)
    ann = Endpoint(site.api_address, site.ca.certificate, secret)
    assert await site.do(lambda client: client.get_user("me"), ann) == user
    assert [key.public_key for key in await site.do(lambda client: list(client.list_ssh_keys()), ann)] == [KEY]
    (listed,) = await site.do(lambda client: list(client.list_invitations()))
    assert (listed.kid, listed.note, listed.state, listed.redeemed_by) == (
        *(made.kid, "Ann"),
        *(InvitationState.REDEEMED, "ann"),
    )
    created, redeemed = await records(site)
    assert (created.actor, created.action) == ("root", "RegistrationService/CreateInvitation")
    assert (redeemed.actor, redeemed.action, redeemed.target) == ("", "RegistrationService/RegisterUser", "users/ann")
    assert redeemed.origin.startswith("127.0.0.1:")
    assert dict(redeemed.details) == {"user_id": "ann", "invitation": made.kid, "role": "USER"}
    assert token.split("_")[2] not in repr([created, redeemed])


async def test_refusals_and_revocations_are_recorded(site: Site) -> None:
    stranger = Endpoint(site.api_address, site.ca.certificate)
    made, token = await site.do(lambda client: client.create_invitation(Role.VIEWER))
    await site.do(lambda client: client.delete_invitation(made.kid))
    for _ in range(2):
        with pytest.raises(Unauthenticated, match="unknown, used, expired or revoked"):
            await site.do(lambda client: client.register_user("ann", KEY, token), stranger)
    _, revoked, refused = await records(site)
    assert (revoked.action, revoked.target) == ("RegistrationService/DeleteInvitation", f"invitations/{made.kid}")
    assert (refused.outcome, refused.target) == ("BAD_INVITATION", "users/ann")
    assert token.split("_")[2] not in repr(refused)


async def test_only_with_a_token_are_the_other_fields_looked_at(site: Site) -> None:
    stranger = Endpoint(site.api_address, site.ca.certificate)
    with pytest.raises(Unauthenticated):
        await site.do(lambda client: client.register_user("No One", "x", "nvi_x"), stranger)
    _, token = await site.do(lambda client: client.create_invitation(Role.USER))
    with pytest.raises(InvalidInput) as refused:
        await site.do(lambda client: client.register_user("No One", "x", token), stranger)
    assert [one.field for one in refused.value.violations] == ["user_id", "public_key"]
    with pytest.raises(InvalidInput, match="stands for the caller"):
        await site.do(lambda client: client.register_user("me", KEY, token), stranger)


async def test_users_do_not_invite(site: Site) -> None:
    alice = await site.remote("alice")
    with pytest.raises(NotPermitted):
        await site.do(lambda client: client.create_invitation(Role.VIEWER), alice)
    with pytest.raises(NotFound):
        await site.do(lambda client: client.delete_invitation("0" * 12))


async def test_the_public_information_says_who_may_register(site: Site) -> None:
    info = await site.do(lambda client: client.server_info())
    assert info.registration is Registration.INVITE_ONLY
    assert (await site.do(lambda _: fetch_server_info(site.api_address))).registration is Registration.INVITE_ONLY


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"role": 99}, "role"),
        ({"note": "a\nb"}, "note"),
        ({"note": "x" * 101}, "note"),
        ({"ttl": {"seconds": 59}}, "ttl"),
        ({"ttl": {"seconds": 30 * 86_400 + 1}}, "ttl"),
        ({"request_id": "x" * 65}, "request_id"),
    ],
)
def test_a_bad_invitation_names_the_field(fields: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        create_from_proto(pb.CreateInvitationRequest(**fields))  # type: ignore[arg-type]  # as a test gives it
    assert [one.field for one in refused.value.violations] == [field]
