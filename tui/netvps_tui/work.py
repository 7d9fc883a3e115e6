"""Work in the background of a page or dialog, of which only the latest counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from textual.dom import DOMNode


def restart(node: DOMNode, work: Callable[[], Coroutine[Any, Any, object]], group: str) -> None:
    """Starts `work`, in place of what goes on in its group. Without a coroutine, as one that never began would warn."""
    node.run_worker(cast("Callable[[], object]", work), group=group, exclusive=True, exit_on_error=False)
