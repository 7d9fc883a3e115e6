"""What an owner wants of a session's sleep: which logins wake it."""

from __future__ import annotations

from enum import StrEnum


class WakePolicy(StrEnum):
    """Which logins start a stopped session."""

    DEFAULT = "DEFAULT"
    """Any, unless a person stopped it; then those with a terminal, and those that ask for it."""
    ALWAYS = "ALWAYS"
    NEVER = "NEVER"
    """Only those that ask for it: ssh wake+NAME@…"""
