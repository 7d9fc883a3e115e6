"""Both kinds of iptables in a real namespace (see lab.py), under the drop policies of Docker and of ufw."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from netvps.adapters.filter.iptables import Iptables
from netvps.errors import Unavailable
from tests.adapters.filter.site.lab import OUT, SETTINGS, Lab
from tests.adapters.filter.site.traffic import ADDRESS, BRIDGE, ears, say

pytestmark = pytest.mark.netns

# As Docker 20.10 to 29 leave it, as far as it matters here: its own network is "docker0".
DOCKER = """*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:DOCKER-ISOLATION - [0:0]
:DOCKER-USER - [0:0]
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION
-A FORWARD -o nvbr0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A FORWARD -i nvbr0 ! -o nvbr0 -j ACCEPT
-A FORWARD -i nvbr0 -o nvbr0 -j ACCEPT
-A DOCKER-USER -j RETURN
-A DOCKER-ISOLATION -i nvbr0 -o docker0 -j DROP
COMMIT
"""
# No Docker rules, and everything shut, as a careful person does.
SHUT = """*filter
:INPUT DROP [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
-A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A INPUT -i lo -j ACCEPT
COMMIT
"""
OPEN = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"


@dataclass
class Machine:
    """Runner "one" with one kind of iptables."""

    lab: Lab
    program: str

    def __post_init__(self) -> None:
        self.accepts = Iptables(prefix=self.lab.enter("one"), program=self.program)

    def restore(self, text: str) -> None:
        self.lab.run("one", f"{self.program}-restore", stdin=text)

    def rules(self) -> list[str]:
        return self.lab.run("one", self.program, "-S").splitlines()

    def passes(self) -> list[str]:
        """Which ways are open: over the tunnel in and out, on the bridge, to the outside, to the runner's DNS."""
        with (
            ears(self.lab, "ann1", "ann2", "ann3", "out") as (ann1, ann2, ann3, out),
            ears(self.lab, "one", port=53) as (dns,),
        ):
            say(self.lab, "ann3", ADDRESS["ann1"], b"in")
            say(self.lab, "ann1", ADDRESS["ann3"], b"away")
            say(self.lab, "ann1", ADDRESS["ann2"], b"beside")
            say(self.lab, "ann1", OUT, b"outside")
            say(self.lab, "ann1", BRIDGE["one"], b"dns", 53)
            return [said.decode() for ear in (ann1, ann3, ann2, out, dns) for said in ear.heard()]


ALL = ["in", "away", "beside", "outside", "dns"]


@pytest.fixture(params=["iptables-nft", "iptables-legacy"])
def machine(long_way: Lab, request: pytest.FixtureRequest) -> Iterator[Machine]:
    long_way.write("one", "bridge/bridge-nf-call-iptables", "1")  # the harder way
    long_way.run("one", "iptables", "-F")  # what the whole filter made
    made = Machine(long_way, request.param)
    yield made
    made.restore(OPEN)


async def test_under_dockers_policy_the_overlay_needs_accepts_and_gets_them(machine: Machine) -> None:
    machine.restore(DOCKER)
    assert machine.passes() == ["away", "beside", "outside", "dns"]
    assert not await machine.accepts.ensure(SETTINGS.port)
    assert machine.passes() == ALL
    assert "-A DOCKER-USER -j NETVPS-FORWARD" in machine.rules()
    assert not [rule for rule in machine.rules() if rule.startswith("-A NETVPS-FORWARD") and "-i" not in rule]


async def test_without_docker_the_jump_is_where_the_policy_is(machine: Machine) -> None:
    machine.restore(SHUT)
    assert machine.passes() == []
    assert not await machine.accepts.ensure(SETTINGS.port)
    assert machine.passes() == ALL
    assert "-A FORWARD -j NETVPS-FORWARD" in machine.rules()


@pytest.mark.parametrize("policy", [DOCKER, SHUT], ids=["docker", "shut"])
async def test_existing_rules_are_not_touched_and_missing_ones_come_back(machine: Machine, policy: str) -> None:
    machine.restore(policy)
    assert not await machine.accepts.ensure(SETTINGS.port)
    whole = machine.rules()
    assert await machine.accepts.ensure(SETTINGS.port)
    jump = next(rule for rule in whole if rule.endswith("-j NETVPS-FORWARD"))
    for damage in (f"-D{jump.removeprefix('-A')}", "-F NETVPS-FORWARD", "-A NETVPS-INPUT -j DROP", "-D NETVPS-INPUT 1"):
        machine.lab.run("one", machine.program, *damage.split())
        assert not await machine.accepts.ensure(SETTINGS.port)
        assert machine.rules() == whole


async def test_a_docker_that_starts_later_takes_the_jump_over(machine: Machine) -> None:
    machine.restore(SHUT)
    await machine.accepts.ensure(SETTINGS.port)
    machine.lab.run("one", f"{machine.program}-restore", "--noflush", stdin=DOCKER)
    assert not await machine.accepts.ensure(SETTINGS.port)
    jumps = [rule for rule in machine.rules() if rule.endswith("-j NETVPS-FORWARD")]
    assert jumps == ["-A DOCKER-USER -j NETVPS-FORWARD"]
    assert await machine.accepts.ensure(SETTINGS.port)


@pytest.mark.parametrize("policy", [DOCKER, SHUT], ids=["docker", "shut"])
async def test_nothing_is_left_of_it(machine: Machine, policy: str) -> None:
    machine.restore(policy)
    before = machine.rules()
    await machine.accepts.remove()
    await machine.accepts.ensure(SETTINGS.port)
    await machine.accepts.remove()
    await machine.accepts.remove()
    assert machine.rules() == before


async def test_where_no_iptables_is_there_is_nothing_to_do() -> None:
    accepts = Iptables(program="no-iptables")
    assert await accepts.ensure(SETTINGS.port)
    await accepts.remove()


async def test_a_refusal_is_an_error(machine: Machine) -> None:
    elsewhere = Iptables(prefix=("nsenter", "--net=/run/netns/not-there"), program=machine.program)
    with pytest.raises(Unavailable, match="refused the overlay's accepts: nsenter"):
        await elsewhere.ensure(SETTINGS.port)
