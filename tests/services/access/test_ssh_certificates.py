"""Certificates for logins: whom they name, how long they last, how many there are."""

from __future__ import annotations

from datetime import timedelta

import pytest

from netvps.domain.access.accounts import Caller, Role, User
from netvps.domain.names import SshLogin
from netvps.errors import Exhausted, InvalidInput, NotFound, NotPermitted
from netvps.services.access.ssh_certificates import PER_MINUTE, SshCertificates, principal_of, user_of
from tests.fakes.ca import FakeCa
from tests.fakes.clock import FakeClock
from tests.fakes.world import ALICE, BOB, ROOT, World


def test_it_names_the_caller_for_five_minutes(clock: FakeClock) -> None:
    certificate, expires = SshCertificates(clock, FakeCa()).issue(ALICE, "KEY")
    assert expires - clock() == timedelta(minutes=5)
    assert certificate == f"user KEY is users/alice (alice) until {expires:%H:%M}"


@pytest.mark.parametrize(
    ("life", "accepted"),
    [(timedelta(hours=8), True), (timedelta(minutes=1), True), (timedelta(hours=8, seconds=1), False),
     (timedelta(seconds=59), False), (timedelta(seconds=-1), False)],
)  # fmt: skip
def test_it_is_good_for_a_working_day_at_most(clock: FakeClock, life: timedelta, accepted: bool) -> None:
    certificates = SshCertificates(clock, FakeCa())
    if accepted:
        assert certificates.issue(ALICE, "KEY", life)[1] - clock() == life
    else:
        with pytest.raises(InvalidInput, match="between one minute and eight hours"):
            certificates.issue(ALICE, "KEY", life)


def test_each_user_has_a_limit_of_their_own(clock: FakeClock) -> None:
    certificates = SshCertificates(clock, FakeCa())
    for _ in range(PER_MINUTE):
        certificates.issue(ALICE, "KEY")
    with pytest.raises(Exhausted, match="60 SSH certificates within a minute"):
        certificates.issue(ALICE, "KEY")
    certificates.issue(BOB, "KEY")
    clock.now += timedelta(seconds=60)
    certificates.issue(ALICE, "KEY")


def test_what_is_counted_is_bounded(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netvps.services.access.ssh_certificates._USERS", 3)
    certificates = SshCertificates(clock, FakeCa())
    for number in range(10):
        certificates.issue(Caller(f"user{number}", Role.USER), "KEY")
    assert len(certificates._issued) == 3


@pytest.mark.parametrize(
    "principals", [(), ("",), ("users/",), ("alice",), ("0d1e2f3g4h5j6/root",), ("users/alice", "users/bob")]
)
def test_only_one_principal_of_that_form_is_a_user(principals: tuple[str, ...]) -> None:
    assert user_of(principals) is None


def test_a_principal_is_read_as_it_was_written() -> None:
    assert user_of((principal_of("alice"),)) == "alice"


async def test_a_certificate_opens_what_its_user_may_see(world: World) -> None:
    await world.session("dev1", ALICE)
    revision = (await world.rows(User))[0].revision
    grant = await world.logins.authorize_user(SshLogin.parse("dev1"), ALICE.user)
    assert (grant.user, str(grant.session.full_name), grant.unix_user) == ("alice", "dev1.alice", "root")
    assert (await world.logins.authorize_user(SshLogin.parse("dev1.alice"), ROOT.user)).user == "root"
    with pytest.raises(NotFound):
        await world.logins.authorize_user(SshLogin.parse("dev1.alice"), BOB.user)
    with pytest.raises(NotPermitted, match="user carol was removed"):
        await world.logins.authorize_user(SshLogin.parse("dev1"), "carol")
    assert (await world.rows(User))[0].revision == revision
