"""Settings of the long-running programs: from flags, else environment (NETVPS_*), else a TOML file; frozen.

The file has the keys `state_dir` and `runtime_dir`, and a table per program:

    state_dir = "/srv/netvps"

    [server]
    listen = "0.0.0.0"

    [runner]
    name = "box1"
"""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import socket
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, TypeAdapter, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from netvps.config import Paths, paths
from netvps.domain.names import label_from
from netvps.domain.runner.docker_names import NETWORK_SUBNET
from netvps.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pydantic_settings import PydanticBaseSettingsSource

# RFC 1918, and RFC 6598 (carrier-grade NAT).
_PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
_HOST_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]{0,61}[A-Za-z0-9])?)*")
_HOST_NAME_MAX = 253
PREFIX = "NETVPS_"
_COMMON = ("state_dir", "runtime_dir")
OTHER_VARIABLES = {
    "NETVPS_CONFIG": "TOML file with settings; `--config` of the programs overrides it",
    "NETVPS_CONTEXT": "name of the context that commands use; `--context` overrides it",
    "NETVPS_SOCKET": "path of the API socket of the context `local`",
    "NETVPS_CONFIG_DIR": "folder of contexts and known hosts; default `~/.config/netvps`",
    "NETVPS_DEBUG": "any value: print the traceback of an internal error",
    "NETVPS_ACCESSIBLE": "any value: no colour and no redrawn lines (`NO_COLOR` turns off colour only)",
    "NETVPS_ADDRESS": "`HOST:PORT` of the server that commands use without a context",
    "NETVPS_API_KEY": "API key for `NETVPS_ADDRESS`",
    "NETVPS_API_KEY_FILE": "file with the API key for `NETVPS_ADDRESS`",
    "NETVPS_CA": "file with the CA certificate (PEM) for `NETVPS_ADDRESS`",
    "NETVPS_COMPLETE": "",
    "NETVPS_ENV": "",
    "NETVPS_FAULTS": "",
    "NETVPS_REQUIRE": "",
    "NETVPS_RESTORED": "",
    "NETVPS_FULL": "",
    "NETVPS_LAB": "",
    "NETVPS_FUZZ_SECONDS": "",
}
"""Variables with the prefix that are no settings, with their purpose; '' for those of tests and scripts."""


def _address(value: str) -> str:
    """Validates HOST:PORT, with an IPv6 host in brackets."""
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 1 << 16:
        raise ValueError("give HOST:PORT, for example gateway.example:7443")
    return value


def _ip(value: str) -> str:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValueError("give an IP address of this machine, or 0.0.0.0 for all") from None
    return value


def is_host_name(text: str) -> bool:
    """Whether a text is a host name (RFC 1123): labels of letters, digits and hyphens."""
    return len(text) <= _HOST_NAME_MAX and _HOST_NAME.fullmatch(text) is not None


def _joined(value: object) -> object:
    """A list, as the file may contain it, joined with commas."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else value


def _public_names(value: str) -> str:
    """Validates host names and IP addresses, separated by commas."""
    names = [name.strip() for name in value.split(",") if name.strip()]
    for name in names:
        try:
            ipaddress.ip_address(name)
        except ValueError:
            if not is_host_name(name) or name.rpartition(".")[2].isdigit():
                why = f"{name!r} is neither a host name nor an IP address: give for example vps.example.org"
                raise ValueError(why) from None
    return ",".join(dict.fromkeys(names))


def _networks(value: str) -> str:
    """Validates addresses and networks in CIDR form, separated by commas."""
    parts = [part.strip() for part in value.split(",") if part.strip()]
    for part in parts:
        try:
            network = ipaddress.ip_network(part)
        except ValueError as error:
            raise ValueError(f"{error}: give an address or a network, for example 192.0.2.10 or 192.0.2.0/28") from None
        if not network.prefixlen:
            raise ValueError(f"{part} is every address: any client could claim another's")
    return ",".join(dict.fromkeys(parts))


def _own_name() -> str:
    """The host name as a DNS label."""
    return label_from(socket.gethostname().split(".")[0], "runner")


class Repeatable:
    """Marks a setting whose flag may be repeated; the values are joined with commas."""


Port = Annotated[int, Field(ge=1, le=65535)]
Address = Annotated[str, AfterValidator(_address)]


class Settings(BaseSettings):
    """Settings that all programs share."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX, hide_input_in_errors=True)
    table: ClassVar[str]

    state_dir: Path = Field(default=Path(), description="folder for persistent data")
    runtime_dir: Path = Field(default=Path(), description="folder for sockets")

    @property
    def paths(self) -> Paths:
        """Both folders, with defaults filled in."""
        chosen = {name: str(getattr(self, name)) for name in _COMMON if name in self.model_fields_set}
        return paths(chosen.get("state_dir"), chosen.get("runtime_dir"))

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags take precedence over the environment; the file comes last, see `load`."""
        return init_settings, env_settings

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        for name in secrets_of(cls):
            file = values.get(f"{name}_file")
            if file is None:
                continue
            if values.get(name) is not None:
                raise ValueError(f"{name} and {name}_file are both set: keep one")
            try:
                values[name] = Path(file).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{name}_file {file} cannot be read: {error}") from None
        return values


class ServerSettings(Settings):
    """Settings of `netvps server`: control plane and gateway."""

    table: ClassVar[str] = "server"

    database_url: SecretStr | None = Field(
        default=None, description="postgresql://USER:PASSWORD@HOST/NAME; by default SQLite"
    )
    database_url_file: Path | None = Field(default=None, description="file with the database URL")
    listen: Annotated[str, AfterValidator(_ip)] = Field(default="127.0.0.1", description="IP address to listen on")
    public_name: Annotated[str, BeforeValidator(_joined), AfterValidator(_public_names), Repeatable()] = Field(
        default="",
        description="host name or address by which clients reach it, for its TLS certificate; several with commas",
    )
    api_port: Port = Field(default=7443, description="API (gRPC, with TLS and API keys)")
    link_port: Port = Field(default=7444, description="runners and agents, mutual TLS")
    ssh_port: Port = Field(default=2222, description="SSH gateway")
    ssh_connections_per_user: int = Field(default=1000, ge=1, description="maximum SSH connections of one user")
    ssh_connections_per_session: int = Field(default=500, ge=1, description="maximum SSH connections to one session")
    ssh_balancers: Annotated[str, BeforeValidator(_joined), AfterValidator(_networks), Repeatable()] = Field(
        default="", description="load balancers that send PROXY protocol v2: addresses or networks, with commas"
    )
    terminal_ui: bool = Field(default=True, description="the terminal UI for `ssh HOST` without a session's name")
    http_port: Port = Field(default=7480, description="health and metrics over HTTP")
    default_image: str = Field(default="netvps/debian:latest", description="image of sessions that specify none")
    overlay_pool: str = Field(default="10.128.0.0/10", description="range from which runners get their subnets")
    overlay_prefix: int = Field(default=22, ge=8, le=29, description="prefix length of a runner's subnet")
    overlay_vni: int = Field(default=7, ge=1, le=(1 << 24) - 1, description="VXLAN network identifier")
    overlay_port: Port = Field(default=14789, description="UDP port of VXLAN between runners")
    heartbeat_interval: float = Field(default=5.0, gt=0, le=300, description="seconds between a runner's heartbeats")
    calls_per_user: int = Field(default=1024, ge=16, description="maximum open API calls of one user, of all kinds")
    watches_per_user: int = Field(default=256, ge=1, description="maximum open watches of one user")
    log_readers_per_user: int = Field(default=32, ge=1, description="maximum open log readers of one user")
    commands_per_user: int = Field(default=128, ge=1, description="maximum running commands (exec) of one user")
    snapshots_per_session: int = Field(default=50, ge=1, le=1000, description="maximum snapshots of one session")
    snapshots_per_user: int = Field(default=500, ge=1, description="maximum snapshots of one user's sessions")
    snapshot_copies: int = Field(
        default=1, ge=1, le=16, description="number of runners that should hold a snapshot, unless its session says it"
    )
    audit_days: int = Field(default=365, ge=1, le=36_500, description="days after which audit records are deleted")
    drain: float = Field(default=30.0, ge=0, le=3600, description="seconds that connections get to end on shutdown")

    @model_validator(mode="after")
    def _pool_is_usable(self) -> Self:
        try:
            pool = ipaddress.IPv4Network(self.overlay_pool)
        except ValueError as error:
            raise ValueError(f"overlay_pool is no IPv4 network in CIDR form: {error}") from None
        if pool.prefixlen > self.overlay_prefix:
            raise ValueError(f"overlay_pool {pool} is smaller than one /{self.overlay_prefix} (overlay_prefix)")
        if not any(pool.subnet_of(private) for private in _PRIVATE):
            raise ValueError(
                f"overlay_pool {pool} is not private: machines would lose their route to the real owners; use"
                f" a part of {', '.join(map(str, _PRIVATE))}"
            )
        if pool.overlaps(ipaddress.IPv4Network(NETWORK_SUBNET)):
            raise ValueError(f"overlay_pool {pool} overlaps {NETWORK_SUBNET}, which sessions without the overlay use")
        return self

    @property
    def public_names(self) -> tuple[str, ...]:
        """Names and addresses that the operator configured."""
        return tuple(self.public_name.split(",")) if self.public_name else ()

    @property
    def database(self) -> str:
        """URL of the database."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.paths.state / 'netvps.db'}"


class RunnerSettings(Settings):
    """Settings of `netvps runner`: one machine that sessions run on."""

    table: ClassVar[str] = "runner"

    server: Address = Field(default="127.0.0.1:7443", description="HOST:PORT of the server's API, for joining")
    link: Address | None = Field(default=None, description="HOST:PORT for runners; by default as the server announces")
    name: str = Field(default_factory=_own_name, description="name of this machine in netvps")
    join_token: SecretStr | None = Field(default=None, description="single-use token, needed only to join")
    join_token_file: Path | None = Field(default=None, description="file with the join token, needed only to join")
    docker_host: str | None = Field(default=None, description="Docker's socket; by default DOCKER_HOST or its own")
    no_sessions: bool = Field(
        default=False, description="only join this machine to the overlay: needs no Docker, and gets no sessions"
    )
    snapshot_dir: Path | None = Field(
        default=None, description="with no_sessions: hold copies of snapshots in this directory, for example on a NAS"
    )
    metrics_port: Port | None = Field(default=None, description="metrics over HTTP, on loopback; by default none")
    overlay: bool = Field(
        default=True, description="join the overlay network if this machine supports it: true or false"
    )
    overlay_fast_path: Literal["auto", "off"] = Field(
        default="auto",
        description="packets between sessions skip the machine's own filter rules: auto (where the kernel can) or off",
    )
    underlay: str = Field(default="", description="own address or interface towards other runners; by default detected")
    agent_dir: Path | None = Field(default=None, description="folder of agent-linux-ARCH; by default the package's")


def check_value(settings: type[Settings], name: str, value: object) -> None:
    """Raises ValueError with the rule if a value is not valid for a setting."""
    field = settings.model_fields[name]
    try:
        rules: Any = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
        TypeAdapter(rules).validate_python(value)
    except ValidationError as error:
        raise ValueError(_rule(dict(error.errors(include_url=False)[0]))) from None


def is_repeatable(settings: type[Settings], name: str) -> bool:
    """Whether the flag of a setting may be given several times."""
    return any(isinstance(mark, Repeatable) for mark in settings.model_fields[name].metadata)


def secrets_of(settings: type[Settings]) -> list[str]:
    """Names of the settings that contain a secret."""
    return [name for name in settings.model_fields if f"{name}_file" in settings.model_fields]


PROGRAMS: tuple[type[Settings], ...] = (ServerSettings, RunnerSettings)
S = TypeVar("S", bound=Settings)
_RULES = {"int_parsing": "give a whole number", "float_parsing": "give a number", "bool_parsing": "give true or false"}


def load(
    settings: type[S],
    flags: Mapping[str, Any],
    file: Path | None = None,
    *,
    remembered: Mapping[str, Any] | None = None,
) -> S:
    """The settings in effect: from `flags`, else environment, else `remembered` (earlier flags), else file.

    Raises ConfigError that names each wrong setting, its value, and what to do.
    """
    refuse_unknown_variables(os.environ)
    earlier = {name: value for name, value in (remembered or {}).items() if name in settings.model_fields}
    given = {name: value for name, value in flags.items() if value is not None}
    in_environment = {name for name in settings.model_fields if PREFIX + name.upper() in os.environ}
    rest = _below(_read(file or _config_file(), settings), earlier.keys(), settings) | earlier
    rest = _below(rest, given.keys() | in_environment, settings)
    try:
        return settings(**rest, **given)
    except ValidationError as error:
        raise ConfigError(_sentence(error, settings)) from None


def _below(values: dict[str, Any], stronger: Collection[str], settings: type[Settings]) -> dict[str, Any]:
    """The values of one source that the names in `stronger`, set by another source, do not override.

    A secret and its file count as one setting; otherwise the two sources together would be refused as both set.
    """
    gone = set(stronger)
    for name in secrets_of(settings):
        if {name, f"{name}_file"} & gone:
            gone |= {name, f"{name}_file"}
    return {name: value for name, value in values.items() if name not in gone}


def _config_file() -> Path | None:
    named = os.environ.get("NETVPS_CONFIG")
    return Path(named) if named else None


def _read(file: Path | None, settings: type[Settings]) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"configuration {file} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"configuration {file} is not TOML: {error}") from None
    known = [*_COMMON, *(program.table for program in PROGRAMS)]
    for key in content:
        if key not in known:
            raise ConfigError(f"configuration {file}: unknown key {key!r}{_suggestion(key, known)}")
    table = content.get(settings.table, {})
    if not isinstance(table, dict):
        raise ConfigError(f"configuration {file}: {settings.table!r} is a table: write [{settings.table}]")
    return {key: content[key] for key in _COMMON if key in content} | table


def refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    """Raises ConfigError for a variable with the prefix that no program reads, which is most likely a typo."""
    known = OTHER_VARIABLES.keys() | {PREFIX + name.upper() for program in PROGRAMS for name in program.model_fields}
    for variable in environ:
        if variable.startswith(PREFIX) and variable not in known:
            raise ConfigError(f"environment: unknown variable {variable}{_suggestion(variable, known)}; unset it")


def _sentence(error: ValidationError, settings: type[Settings]) -> str:
    parts = []
    for item in error.errors(include_url=False):
        name = ".".join(str(part) for part in item["loc"])
        message = _rule(dict(item))
        if item["type"] == "extra_forbidden":
            parts.append(f"unknown setting {name!r}{_suggestion(name, list(settings.model_fields))}")
        elif not name:
            parts.append(message)
        elif name in secrets_of(settings):
            parts.append(f"{name}: {message}")
        else:
            parts.append(f"{name}: {item['input']!r} is wrong: {message}")
    return "; ".join(parts)


def _rule(item: Mapping[str, Any]) -> str:
    """Turns pydantic's message about a value into an instruction."""
    if rule := _RULES.get(item["type"]):
        return rule
    message = str(item["msg"]).removeprefix("Value error, ")
    expected = message.removeprefix("Input should be ")
    if expected == message:
        return message[:1].lower() + message[1:]
    return f"give a value {expected}" if expected.startswith(("less", "greater")) else f"give {expected}"


def _suggestion(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean {close[0]}?" if close else f": known are {', '.join(sorted(known))}"
