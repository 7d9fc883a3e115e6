"""Who may import whom, held as a table: what a package may not import, and why not."""

from __future__ import annotations

import ast
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = (
    *("adapters", "cli", "client", "display", "domain", "gateway", "process", "programs", "rpc", "runner"),
    "services",
)

MACHINE_CHECKS = "netvps.cli.doctor.checks_machine"
"""The one module of the CLI that imports adapters: it looks at this machine, not at a server."""

_PORT = "what one needs of another is a Protocol of its own, which a program fulfils"
_DOWN = "imports point down: errors ← domain ← services ← {adapters, rpc, gateway, runner} ← {programs, cli}"
_SHOWN = "what the CLI and the terminal UI share to show values knows none"
_CLIENT = "clients reach the system through netvps.client alone"
_PROCESS = "running as a program needs nothing of what the program does"
_PROGRAM = "nothing imports a program: it is the place that wires everything"

# package → what of netvps it may not import → why not
FORBIDDEN: dict[str, dict[str, str]] = {
    "netvps.errors": {"netvps": "the bottom imports nothing"},
    "netvps.domain": {name: _DOWN for name in PACKAGES if name != "domain"}
    | {"netvps.tasks": "the domain decides without awaiting", "netvps.timing": "it decides without a clock"}
    | {"netvps.config": "values come in as arguments"},
    "netvps.services": {name: _DOWN for name in PACKAGES if name not in {"domain", "services"}},
    "netvps.adapters": dict.fromkeys(("rpc", "gateway", "runner"), _PORT) | {"cli": _DOWN},
    "netvps.rpc": dict.fromkeys(("adapters", "gateway", "runner"), _PORT) | {"cli": _DOWN},
    "netvps.gateway": dict.fromkeys(("adapters", "rpc", "runner"), _PORT) | {"cli": _DOWN},
    "netvps.runner": dict.fromkeys(("adapters", "rpc", "gateway"), _PORT) | {"cli": _DOWN, "services": _PORT},
    "netvps.client": dict.fromkeys(("adapters", "gateway", "process", "runner", "services"), _CLIENT) | {"cli": _DOWN},
    "netvps.display": {name: _SHOWN for name in PACKAGES if name != "display"} | {"netvps.errors": _SHOWN},
    "netvps_tui": dict.fromkeys(
        ("adapters", "cli", "gateway", "process", "programs", "rpc", "runner", "services"), _CLIENT
    ),
    "netvps.cli": dict.fromkeys(("adapters", "gateway", "runner", "services"), _CLIENT),
    "netvps.process": dict.fromkeys(("adapters", "gateway", "rpc", "runner", "services"), _PROCESS) | {"cli": _DOWN},
    "netvps": {"programs": _PROGRAM},
}

# What the CLI sees of rpc beside netvps.client: the JSON form of what calls return.
CLIENT_MODULES = ("netvps.rpc.jsonform",)

# library → the only packages that may import it
LIBRARIES: dict[str, tuple[str, ...]] = {
    "sqlalchemy": ("netvps.adapters.store",),
    "alembic": ("netvps.adapters.store",),
    "asyncpg": ("netvps.adapters.store",),
    "dns": ("netvps.adapters.dns",),
    "docker": ("netvps.adapters.docker",),
    "requests": ("netvps.adapters.docker",),  # what the Docker library raises
    "urllib3": ("netvps.adapters.docker",),
    "cryptography": ("netvps.adapters.ca",),
    "asyncssh": ("netvps.gateway",),
    "h11": ("netvps.gateway.http",),
    "idna": ("netvps.cli",),
    "aiohttp": ("netvps.gateway", "netvps.adapters.oidc", "netvps.adapters.registry"),
    "joserfc": ("netvps.adapters.oidc",),
    "grpc": ("netvps.rpc", "netvps.api"),
    "grpc_status": ("netvps.rpc",),
    "grpc_health": ("netvps.rpc",),
    "grpc_reflection": ("netvps.rpc",),
    "google": ("netvps.rpc", "netvps.api"),
    "click": ("netvps.cli",),
    "textual": ("netvps_tui",),
    "rich": ("netvps_tui",),
    "netvps_tui": ("netvps.cli", "netvps_tui"),
    "yaml": ("netvps.cli",),
    # In the store, it turns stored JSON into frozen values; in the last, it is the schema of a file.
    "pydantic": ("netvps.settings", "netvps.adapters.store", "netvps.cli.deploy"),
    "pydantic_settings": ("netvps.settings",),
    "uvloop": ("netvps.process", "netvps.programs"),
    "pyroute2": ("netvps.adapters.netlink",),
    "netaddr": ("netvps.domain",),
    "pynvml": ("netvps.adapters.nvml",),
    "prometheus_client": ("netvps.adapters.metrics",),
    "zstandard": ("netvps.adapters.docker",),
}
# Used by whoever needs it: it decides nothing.
EVERYWHERE = {"structlog"}


def _modules() -> list[Path]:
    own = [*(ROOT / "netvps").rglob("*.py"), *(ROOT / "tui").rglob("*.py")]
    return [path for path in sorted(own) if "api" not in path.relative_to(ROOT).parts]


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT / "tui" if (ROOT / "tui") in path.parents else ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def _imports(path: Path) -> frozenset[str]:
    """All modules that a file imports, wherever in it; `from a import b` counts as a.b, too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return frozenset(found)


def _within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _broken_rules(path: Path) -> list[str]:
    module, imported = _name(path), _imports(path)
    broken = []
    for package, table in FORBIDDEN.items():
        if not _within(module, package) or (package == "netvps" and _within(module, "netvps.programs")):
            continue
        for target, why in table.items():
            full = target if target.startswith("netvps") else f"netvps.{target}"
            hits = {name for name in imported if _within(name, full)}
            if (module, full) == (MACHINE_CHECKS, "netvps.adapters"):
                continue
            broken += [f"{module} imports {name}: {why}" for name in sorted(hits)]
    if any(_within(name, "netvps.api") for name in imported) and not _within(module, "netvps.rpc"):
        broken.append(f"{module} imports netvps.api: only rpc knows the wire")
    if _within(module, "netvps.cli"):
        own = {name for name in imported if _within(name, "netvps.rpc") and name != "netvps.rpc"}
        broken += [f"{module} imports {name}: {_CLIENT}" for name in own if not name.startswith(CLIENT_MODULES)]
    return broken


def test_imports_point_down() -> None:
    assert [broken for path in _modules() for broken in _broken_rules(path)] == []


def test_a_library_has_one_adapter() -> None:
    for path in _modules():
        module = _name(path)
        foreign = {name.partition(".")[0] for name in _imports(path)} - sys.stdlib_module_names - {"netvps", ""}
        for library in sorted(foreign - EVERYWHERE):
            assert library in LIBRARIES, f"{module} imports {library}: say in the table whose it is"
            assert any(_within(module, owner) for owner in LIBRARIES[library]), f"{module} imports {library}"


def test_the_domain_does_not_wait_or_look_at_the_clock() -> None:
    banned = {"asyncio", "time", "random", "secrets", "socket", "subprocess", "os"}
    for path in _modules():
        if _within(_name(path), "netvps.domain"):
            assert not banned & {name.partition(".")[0] for name in _imports(path)}, _name(path)


def test_the_table_names_packages_that_exist() -> None:
    for package in FORBIDDEN:
        path = (ROOT / "tui" if package == "netvps_tui" else ROOT) / package.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), package
