"""What becomes of the rules that follow from a view and from the links of sessions, where both changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from netvps.domain.overlay.change import Change
from netvps.domain.overlay.netmap import Netmap
from netvps.domain.overlay.nft import Edit, Ruleset
from netvps.domain.overlay.view import View

Links = Mapping[str, str]
"""Of the bridge, by the address of the session behind each."""


def edited(rules: Callable[[View, Links], Ruleset], change: Change, view: View, before: Links, after: Links) -> Edit:
    """First what a change of the view makes, and after it, for this whole `view`, one of the links.

    It costs as much as the change is large; that of links as much as there are sessions here.
    """
    edit = rules(change.new, before).changes_from(rules(change.old, before))
    if before != after:
        here = replace(view, netmap=Netmap(endpoints={end.session: end for end in view.local_endpoints()}))
        edit += rules(here, after).changes_from(rules(here, before))
    return edit
