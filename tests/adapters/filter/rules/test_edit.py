"""What a change and new links make of rules is what the whole comes to."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from netvps.adapters.filter.rules.edit import edited
from netvps.adapters.filter.rules.overlay import ruleset
from netvps.domain.overlay.change import Tracker
from netvps.domain.overlay.fabric import Fabric
from netvps.domain.overlay.netmap import Netmap, NetmapUpdate
from netvps.domain.overlay.view import View
from tests.adapters.filter.rules.nft_model import Kernel
from tests.domain.overlay.test_change import ME, PORTS, UPDATES


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(UPDATES, PORTS), min_size=1, max_size=6), PORTS)
def test_it_leads_where_all_of_the_new_rules_do(
    history: Sequence[tuple[NetmapUpdate, dict[str, str]]], bound: dict[str, str]
) -> None:
    tracker = Tracker()
    view = View("r0", Fabric("c"), ME.lease, ME.underlay, Netmap())
    tracker.follow(view)
    kernel = Kernel()
    kernel.feed(ruleset(view, bound).text)
    for update, ports in history:
        view = View("r0", Fabric("c"), ME.lease, ME.underlay, view.netmap.updated(update))
        if change := tracker.follow(view):
            kernel.feed(edited(ruleset, change, view, bound, ports).text)
        else:
            kernel.feed(ruleset(view, ports).text)
        assert kernel.ruleset == ruleset(view, ports)
        bound = ports
