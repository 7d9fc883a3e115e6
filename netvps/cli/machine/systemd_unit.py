"""The systemd unit that runs `netvps up` at each boot, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from netvps.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME: Final = "netvps.service"
_SECRETS: Final = ("NETVPS_DATABASE_URL", "NETVPS_JOIN_TOKEN", "NETVPS_API_KEY")
_NOT_FOR_SERVICES: Final = ("NETVPS_CONTEXT", "NETVPS_SOCKET", "NETVPS_ADDRESS", "NETVPS_DEBUG", "NETVPS_COMPLETE")
_TEMPLATE: Final = """\
# Written by `netvps up --install`; `netvps down --uninstall` removes it.
[Unit]
Description=netvps: control plane, SSH gateway and runner
{after}
[Service]
Type=notify
ExecStart={program} up --foreground
{environment}Restart=on-failure
RestartSec=5
TimeoutStartSec=180
TimeoutStopSec=90
KillMode=mixed
LimitNOFILE=1048576

[Install]
WantedBy={target}
"""
_AFTER: Final = """\
Wants=network-online.target docker.service
After=network-online.target docker.service
"""


def render(program: str, environment: Mapping[str, str], *, system: bool) -> str:
    """The unit: of the system, or of an account's own systemd, which knows no units of the system to wait for."""
    lines = "".join(f"Environment={quoted(f'{name}={value}')}\n" for name, value in sorted(environment.items()))
    return _TEMPLATE.format(
        after=_AFTER if system else "",
        program=quoted(program),
        environment=lines,
        target="multi-user.target" if system else "default.target",
    )


def lasting(environ: Mapping[str, str]) -> dict[str, str]:
    """The variables of this shell that set up netvps, for the unit to have as well.

    Raises ConfigError for a secret: every account can read a unit.
    """
    if secret := next((name for name in _SECRETS if name in environ), None):
        raise ConfigError(f"{secret} is a secret, and every account can read a systemd unit: set {secret}_FILE instead")
    return {
        name: value
        for name, value in environ.items()
        if name == "DOCKER_HOST" or (name.startswith("NETVPS_") and name not in _NOT_FOR_SERVICES)
    }


def quoted(word: str) -> str:
    """A word of systemd.syntax(7), in which nothing is special; "%" would be a specifier, "$" a variable."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"' if escaped != word or any(char.isspace() or char in "';#" for char in word) else word
