"""The reference page of settings, environment variables and exit codes, from the classes and tables that hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, get_args, get_origin

from netvps import exit_codes
from netvps.settings import OTHER_VARIABLES, PREFIX, RunnerSettings, ServerSettings, Settings, secrets_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEFAULTS: Final = {
    "state_dir": "`/var/lib/netvps` (root), `~/.local/state/netvps`",
    "runtime_dir": "`/run/netvps` (root), `~/.local/state/netvps/run`",
    "name": "the host name",
}
"""Those that the machine or the account decides."""
_HEAD: Final = """\
# Settings, environment variables, exit codes

<!-- Generated from the code by scripts/docs: change the code, then run it. -->

## Set a setting

A flag overrules an environment variable, and that overrules the configuration file:

```
netvps server --ssh-port 22                         # flag
NETVPS_SSH_PORT=22                                  # environment variable
NETVPS_CONFIG=/etc/netvps.toml                      # configuration file; or --config FILE
```

The file is TOML, with a table for each program. `netvps up` reads both tables.

```toml
state_dir = "/srv/netvps"

[server]
listen = "0.0.0.0"
ssh_port = 22

[runner]
name = "box1"
```

`netvps up` keeps the flags of a start that succeeded, in `STATE/up.json`. At the next start, a kept flag overrules the
file; a flag or a variable overrules the kept one. `netvps up --reset-flags` forgets them.

A name that no program knows is an error with the nearest known name, in the file and in the environment; the exit code
is 10.

## See which settings are in effect

```sh
netvps config show --sources
```

It prints each setting with its value and what sets it, and checks all of them. A secret is not printed.

## Give a secret

A secret has no flag, because every account of a machine can read the arguments of a process. Give it in a file of its
own (`…_file`), as a variable, or in the configuration file: one of them. A newline at the end of the file does not
count; an empty file is an error; a file that every account can read is a warning in the log. It is read when the
program starts; the password of PostgreSQL also [for each new connection](postgresql.md#change-the-password).

A service of systemd gets its secrets as credentials, which bear the name of the setting; nothing else has to be set:

```ini
[Service]
LoadCredential=database_url:/etc/netvps/database-url
```"""


def page() -> str:
    """The whole page, in Markdown."""
    lines = [_HEAD]
    lines += ["", "## Both programs", "", *_settings(Settings)]
    lines += ["", "## The server", "", "Of `netvps server` and `netvps up`; in the file, under `[server]`.", ""]
    lines += _settings(ServerSettings)
    lines += [
        "",
        "## The runner",
        "",
        "Of `netvps runner`; in the file, under `[runner]`. `netvps up` takes them, too,",
    ]
    lines += ["except `server`, `link` and `join_token`.", "", *_settings(RunnerSettings)]
    lines += ["", "## Environment variables of the commands", "", "| variable | |", "|---|---|"]
    lines += [f"| `{name}` | {text} |" for name, text in sorted(OTHER_VARIABLES.items()) if text]
    lines += ["", "## Exit codes", "", "| code | |", "|---|---|"]
    lines += [f"| {code} | {text} |" for code, text in exit_codes.MEANINGS.items()]
    return "\n".join(lines) + "\n"


def _settings(kind: type[Settings]) -> Iterator[str]:
    """A table of the settings that a class adds to those that all share."""
    shared = {} if kind is Settings else Settings.model_fields
    yield from ("| flag | variable | default | |", "|---|---|---|---|")
    for name, field in kind.model_fields.items():
        if name not in shared:
            flag = "none" if name in secrets_of(kind) else f"`--{name.replace('_', '-')}`"
            cells = (flag, f"`{PREFIX}{name.upper()}`", _default(name, field), f"{field.description}{_bounds(field)}")
            yield f"| {' | '.join(cells)} |"


def _default(name: str, field: Any) -> str:
    if name in _DEFAULTS:
        return _DEFAULTS[name]
    value = field.default
    if value is None or value == "":
        return ""
    shown = str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)
    return f"`{shown}`"


def _bounds(field: Any) -> str:
    """What values are taken, in words: " (1 to 65535)"."""
    found = {type(bound).__name__: bound for bound in field.metadata}
    if get_origin(field.annotation) is Literal:
        choices = ", ".join(map(str, get_args(field.annotation)))
        return "" if ";" in (field.description or "") else f" ({choices})"
    low = f"{found['Ge'].ge:,}" if "Ge" in found else f"more than {found['Gt'].gt:,}" if "Gt" in found else ""
    if low and "Le" in found:
        return f" ({low} to {found['Le'].le:,})"
    return f" ({low} or more)" if low else ""
