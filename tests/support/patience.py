"""How long a test waits for what is to come."""

from __future__ import annotations

from typing import Final

PATIENCE: Final = 60.0
"""Seconds; only what hangs takes that long, also on a busy machine."""
