"""Incremental changes of rulesets that depend on a view and on bridge ports, where both changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from netvps.adapters.filter.rules.nft import Edit, Ruleset
from netvps.domain.overlay.change import Change
from netvps.domain.overlay.netmap import Netmap
from netvps.domain.overlay.view import View

Links = Mapping[str, str]
"""Bridge ports by the address of the session behind each."""


def edited(rules: Callable[[View, Links], Ruleset], change: Change, view: View, before: Links, after: Links) -> Edit:
    """The edit for a change of the view, followed by the edit for a change of the ports, on the full `view`.

    The first part costs as much as the change, the second as much as the number of local sessions.
    """
    edit = rules(change.new, before).changes_from(rules(change.old, before))
    if before != after:
        here = replace(view, netmap=Netmap(endpoints={end.session: end for end in view.local_endpoints()}))
        edit += rules(here, after).changes_from(rules(here, before))
    return edit
