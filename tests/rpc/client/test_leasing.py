"""Calls that carry a lease, against real services. So it is the test of netvps.rpc.servicers.scheduling.leases, too."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from netvps.domain.batch import NewSession
from netvps.domain.runner.runner import Underlay
from netvps.domain.scheduling.lease import LEASED, LOST
from netvps.errors import InvalidInput, NotFound, WrongState
from netvps.rpc.client.async_client import AsyncClient
from netvps.rpc.client.leasing import LEASE
from tests.rpc.site import default_spec, hello

if TYPE_CHECKING:
    from netvps.rpc.client.client import Client
    from tests.rpc.site import Site


async def test_changes_need_the_lease_and_reads_do_not(site: Site) -> None:
    def work(client: Client) -> None:
        client.create_session("job", default_spec())
        lease = client.acquire_lease("job", "queue", 60).lease
        assert client.get_lease("job").lease == lease
        with pytest.raises(WrongState, match=r"session job\.root is leased by queue \(user root\) until") as refusal:
            client.delete_session("job")
        assert refusal.value.reason == LEASED
        assert client.get_session("job").name == "job"
        renewed = client.acquire_lease("job", "queue", 600, epoch=lease.epoch)
        assert (renewed.session, renewed.lease.epoch) == ("job.root", lease.epoch)
        client.with_lease(lease.epoch).delete_session("job")
        with pytest.raises(NotFound):
            client.get_lease("job")

    await site.do(work)


async def test_a_released_lease_is_refused_afterwards(site: Site) -> None:
    async with AsyncClient(site.local) as client:
        await client.create_session("job", default_spec())
        epoch = (await client.acquire_lease("job", "queue", 60)).lease.epoch
        holder = client.with_lease(epoch)
        await holder.stop_session("job")
        await client.release_lease("job", epoch)
        with pytest.raises(WrongState) as refusal:
            await holder.start_session("job")
        assert refusal.value.reason == LOST
        await client.start_session("job")


async def test_a_session_gets_the_address_that_was_reserved(site: Site) -> None:
    machine = await site.join()
    underlay = Underlay(("192.0.2.1",), 1450)
    await site.services.runners.online(machine.uid, replace(hello(), underlay=underlay))
    async with AsyncClient(site.local) as client:
        kept = await client.reserve_address("lab1", 60)
        other = await client.create_session("other", default_spec())
        made = await client.create_many([NewSession("job", default_spec(), address_reservation=kept.token)])
    assert [getattr(one, "address", None) for one in made] == [kept.address]
    assert other.address != kept.address


@pytest.mark.parametrize("value", ["mine", "-1", "0", "9" * 30])
async def test_what_is_no_epoch_is_refused(value: str, site: Site) -> None:
    async with AsyncClient(site.local) as client:
        client.transport = client.transport.with_metadata((LEASE, value))
        with pytest.raises(InvalidInput, match="is not the epoch of one lease"):
            await client.get_session("job")
