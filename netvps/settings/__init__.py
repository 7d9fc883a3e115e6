"""Settings of the long-running programs."""

from netvps.settings.loading import Sourced, check_value, config_file, load, refuse_unknown_variables, sources, warnings
from netvps.settings.programs import (
    OTHER_VARIABLES,
    PREFIX,
    PROGRAMS,
    RunnerSettings,
    ServerSettings,
    Settings,
    is_repeatable,
    secrets_of,
)
from netvps.settings.values import is_host_name

__all__ = [
    "OTHER_VARIABLES",
    "PREFIX",
    "PROGRAMS",
    "RunnerSettings",
    "ServerSettings",
    "Settings",
    "Sourced",
    "check_value",
    "config_file",
    "is_host_name",
    "is_repeatable",
    "load",
    "refuse_unknown_variables",
    "secrets_of",
    "sources",
    "warnings",
]
