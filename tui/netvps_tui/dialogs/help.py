"""The keys of a page, from its bindings."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen, Screen
from textual.widgets import Label, Static

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from textual.app import ComposeResult
    from textual.binding import ActiveBinding

_SPELLED = {
    "colon": ":",
    "question_mark": "?",
    "slash": "/",
    "space": "space",
    "up": "↑",
    "down": "↓",
    "pageup": "page up",
    "pagedown": "page down",
}


def keys_of(bindings: Iterable[Binding]) -> list[tuple[str, str]]:
    """Keys and what they do; keys that do the same are on one line."""
    found: dict[str, list[str]] = {}
    for binding in bindings:
        if binding.description[:1].islower() and not binding.system:  # Textual's own begin with a capital
            key = binding.key_display or _SPELLED.get(binding.key, binding.key)
            keys = found.setdefault(binding.description, [])
            if key not in keys:
                keys.append(key)
    return [(" ".join(keys), description) for description, keys in found.items()]


class HelpDialog(ModalScreen[None]):
    """Shows them until a key is pressed."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "dismiss", "close")]

    def __init__(self, active: Sequence[ActiveBinding]) -> None:
        super().__init__()
        active = [one for one in active if one.binding.key != "escape"]
        ordered = sorted(active, key=lambda one: (isinstance(one.node, App), not isinstance(one.node, Screen)))
        self._keys = keys_of(one.binding for one in ordered if one.enabled)

    def compose(self) -> ComposeResult:
        """Two columns: key, what it does."""
        width = max(len(keys) for keys, _ in self._keys)
        lines = [
            Content.assemble((keys.rjust(width), "$accent"), "  ", (what, "$foreground")) for keys, what in self._keys
        ]
        half = (len(lines) + 1) // 2
        with VerticalScroll(id="dialog", classes="help"):
            yield Label("Keys", id="dialog-title")
            with VerticalScroll(id="keys"):
                yield Static(Content("\n").join(lines[:half]), classes="keys-column")
                yield Static(Content("\n").join(lines[half:]), classes="keys-column")
            yield Static(Content.assemble(("esc ", "$accent"), ("close", "$muted")), id="dialog-keys")
