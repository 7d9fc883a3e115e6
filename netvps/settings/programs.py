"""Settings of the long-running programs: from flags, else environment (NETVPS_*), else a TOML file; frozen.

The file has the keys `state_dir` and `runtime_dir`, and a table per program:

    state_dir = "/srv/netvps"

    [server]
    listen = "0.0.0.0"

    [runner]
    name = "box1"
"""

from __future__ import annotations

import ipaddress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from netvps.config import Paths, paths
from netvps.domain.access.accounts import Role
from netvps.domain.access.oidc import ANYONE, LoginRules
from netvps.domain.http.site import LOCAL, Site
from netvps.domain.runner.docker_names import NETWORK_SUBNET
from netvps.settings.image_values import images_for_runners, repository_name, runner_labels
from netvps.settings.quota_values import parse_quotas, quotas
from netvps.settings.secret_files import read_secret
from netvps.settings.values import (
    Repeatable,
    addresses,
    host_and_port,
    host_names,
    idle_time,
    ip_address,
    issuer_url,
    joined,
    networks,
    own_name,
    parts,
    url_of_domain,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic_settings import PydanticBaseSettingsSource

    from netvps.domain.access.quota import Quota

# RFC 1918, and RFC 6598 (carrier-grade NAT).
_PRIVATE = tuple(map(ipaddress.IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
PREFIX = "NETVPS_"
SERVICE_PREFIX = "NETVPS_SERVICE_"
"""Of variables that override fields of a deployment file."""
COMMON = ("state_dir", "runtime_dir")
OTHER_VARIABLES = {
    "NETVPS_CONFIG": "TOML file with settings; `--config` of the programs overrides it",
    "NETVPS_CONTEXT": "name of the context that commands use; `--context` overrides it",
    "NETVPS_LEASE": "epoch of the lease that commands carry, from `netvps lease acquire NAME --holder TEXT`",
    "NETVPS_SOCKET": "path of the API socket of the context `local`",
    "NETVPS_CONFIG_DIR": "folder of contexts and known hosts; default `~/.config/netvps`",
    "NETVPS_LOG_FORMAT": "format of the programs' log: `console`, `json`, or `auto` (console on a terminal, else JSON)",
    "NETVPS_DEBUG": "any value: print the traceback of an internal error",
    "NETVPS_ACCESSIBLE": "any value: no colour and no redrawn lines (`NO_COLOR` turns off colour only)",
    "NETVPS_ADDRESS": "`HOST:PORT` of the server that commands use without a context",
    "NETVPS_API_KEY": "API key for `NETVPS_ADDRESS`",
    "NETVPS_API_KEY_FILE": "file with the API key for `NETVPS_ADDRESS`",
    "NETVPS_CA": "file with the CA certificate (PEM) for `NETVPS_ADDRESS`",
    "NETVPS_TERMINAL": "in a session: label of the terminal that is kept, from `netvps ssh --persist`",
    "NETVPS_TASK_ID": "of a task's command: its id",
    "NETVPS_TASK_INDEX": "of a task's command: its number in an array, from 0",
    "NETVPS_TASK_COUNT": "of a task's command: the size of the array",
    "NETVPS_IMAGE": "",
    "NETVPS_SERVER_IMAGE": "",
    "NETVPS_RUNNER_IMAGE": "",
    "NETVPS_STATE": "",
    "NETVPS_RUN": "",
    "NETVPS_CADDY_IMAGE": "",
    "NETVPS_CADDY_OPTIONS": "",
    "NETVPS_HTTPS_PORT": "",
    "NETVPS_REDIRECT_PORT": "",
    "NETVPS_COMPLETE": "",
    "NETVPS_ENV": "",
    "NETVPS_FAULTS": "",
    "NETVPS_REQUIRE": "",
    "NETVPS_RESTORED": "",
    "NETVPS_FULL": "",
    "NETVPS_TEST_IMAGES": "",
    "NETVPS_LAB": "",
    "NETVPS_FUZZ_SECONDS": "",
}
"""Variables with the prefix that are no settings, with their purpose; '' for those of tests, scripts, compose files."""


Port = Annotated[int, Field(ge=1, le=65535)]
Address = Annotated[str, AfterValidator(host_and_port)]


class Settings(BaseSettings):
    """Settings that all programs share."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", env_prefix=PREFIX, hide_input_in_errors=True)
    table: ClassVar[str]

    state_dir: Path = Field(default=Path(), description="folder for persistent data")
    runtime_dir: Path = Field(default=Path(), description="folder for sockets")

    @property
    def paths(self) -> Paths:
        """Both folders, with defaults filled in."""
        chosen = {name: str(getattr(self, name)) for name in COMMON if name in self.model_fields_set}
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
            if file is not None and values.get(name) is not None:
                raise ValueError(f"{name} and {name}_file are both set: keep one")
            if file is not None:
                values[name] = read_secret(Path(file), f"{name}_file")
            elif values.get(name) == "":
                raise ValueError(f"{name} is empty: give the secret, or unset it")
        return values


class ServerSettings(Settings):
    """Settings of `netvps server`: control plane and gateway."""

    table: ClassVar[str] = "server"

    database_url: SecretStr | None = Field(
        default=None, description="postgresql://USER:PASSWORD@HOST/NAME; by default SQLite"
    )
    database_url_file: Path | None = Field(default=None, description="file with the database URL")
    listen: Annotated[str, AfterValidator(ip_address)] = Field(
        default="127.0.0.1", description="IP address to listen on"
    )
    public_name: Annotated[str, BeforeValidator(joined), AfterValidator(host_names), Repeatable()] = Field(
        default="",
        description="host name or address by which clients reach it, for its TLS certificate; several with commas",
    )
    api_port: Port = Field(default=7443, description="API (gRPC, with TLS and API keys)")
    link_port: Port = Field(default=7444, description="runners and agents, mutual TLS")
    mesh_address: Address | None = Field(default=None, description="HOST:PORT of its link for the other servers")
    ssh_port: Port = Field(default=2222, description="SSH gateway")
    ssh_connections_per_user: int = Field(default=1000, ge=1, description="maximum SSH connections of one user")
    ssh_connections_per_session: int = Field(default=500, ge=1, description="maximum SSH connections to one session")
    ssh_balancers: Annotated[str, BeforeValidator(joined), AfterValidator(networks), Repeatable()] = Field(
        default="", description="load balancers that send PROXY protocol v2: addresses or networks, with commas"
    )
    registration: Literal["closed", "invite_only", "open"] = Field(
        default="closed",
        description="who may make an account for themselves: closed (admins add users), invite_only (those with an"
        " invitation) or open (all who reach the API)",
    )
    oidc_issuer: Annotated[str, AfterValidator(issuer_url)] = Field(
        default="", description="URL of an OIDC issuer with whose accounts people log in, by the device flow"
    )
    oidc_client_id: str = Field(default="", description="this server's client at the issuer")
    oidc_client_secret: SecretStr | None = Field(default=None, description="secret of that client, if it has one")
    oidc_client_secret_file: Path | None = Field(default=None, description="file with the secret of that client")
    oidc_audience: str = Field(default="", description="audience of ID tokens; by default the client")
    oidc_user_claim: str = Field(
        default="preferred_username", description="claim from which the name of a user is made, up to an @"
    )
    oidc_groups: Annotated[str, BeforeValidator(joined), AfterValidator(parts), Repeatable()] = Field(
        default="", description="groups (claim groups) whose members may log in; several with commas"
    )
    oidc_domains: Annotated[str, BeforeValidator(joined), AfterValidator(parts), Repeatable()] = Field(
        default="",
        description="domains of verified email addresses with which people may log in, or * for all accounts of the"
        " issuer; several with commas",
    )
    oidc_role: Literal["viewer", "user", "operator"] = Field(
        default="user", description="role of accounts that a login makes"
    )
    quota: Annotated[str, BeforeValidator(joined), AfterValidator(quotas), Repeatable()] = Field(
        default="",
        description="what the sessions of each user with a role may have together, ROLE:RESOURCE=AMOUNT, for example"
        " user:sessions=10 or user:memory=32G, of sessions, cpus, memory, disk and gpus; several with commas",
    )
    terminal_ui: bool = Field(default=True, description="the terminal UI for `ssh HOST` without a session's name")
    http_port: Port = Field(default=7480, description="health and metrics over HTTP")
    apps_listen: Annotated[str, AfterValidator(ip_address)] = Field(
        default="127.0.0.1", description="IP address to listen on for URLs of sessions"
    )
    apps_port: Port = Field(default=7482, description="URLs of sessions, over HTTP")
    apps_url: Annotated[str, AfterValidator(url_of_domain)] = Field(
        default="",
        description="URL below whose domain sessions have hosts, as browsers see it: https://apps.example; by default"
        " http://localhost with the port",
    )
    apps_proxies: Annotated[str, BeforeValidator(joined), AfterValidator(addresses), Repeatable()] = Field(
        default="", description="proxies that add X-Forwarded headers to requests for URLs: IP addresses, with commas"
    )
    apps_tls_cert: Path | None = Field(
        default=None, description="certificate chain of the URLs of sessions, in PEM form; a new one is read by itself"
    )
    apps_tls_key: Path | None = Field(default=None, description="the key of that certificate, without a passphrase")
    apps_acme_dir: Path | None = Field(
        default=None,
        description="folder in which certbot (--webroot) leaves what proves a name, at the URL of which it is served",
    )
    default_image: str = Field(default="netvps/debian:latest", description="image of sessions that specify none")
    placement: Literal["spread", "pack"] = Field(
        default="spread", description="give sessions that do not say it to the runner with the most room, or the least"
    )
    images_ahead: Annotated[str, BeforeValidator(joined), AfterValidator(images_for_runners), Repeatable()] = Field(
        default="",
        description="images that runners get before a session needs them: IMAGE, or IMAGE@KEY=VALUE for those with that"
        " label; several with commas",
    )
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
    idle_pause: Annotated[float, AfterValidator(idle_time)] = Field(
        default=0.0,
        ge=0,
        description="seconds without activity after which sessions are paused, unless they say it; 0: never",
    )
    idle_stop: Annotated[float, AfterValidator(idle_time)] = Field(
        default=0.0,
        ge=0,
        description="seconds without activity after which sessions stop, unless they say it; 0: never",
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

    @model_validator(mode="after")
    def _apps_are_safe(self) -> Self:
        if (self.apps_tls_cert is None) != (self.apps_tls_key is None):
            raise ValueError("apps_tls_cert and apps_tls_key: give both, or none")
        if self.apps_tls_cert is not None and not self.apps_url.startswith("https:"):
            raise ValueError(
                "apps_url is no https URL, but there is a certificate (apps_tls_cert): give the URL as browsers see it,"
                f" for example https://apps.example:{self.apps_port}"
            )
        loopback = ipaddress.ip_address(self.apps_listen).is_loopback
        if not loopback and not self.apps_url.startswith("https:"):
            raise ValueError(
                f"apps_listen {self.apps_listen}: other machines reach it, and logins must not cross a network in the"
                " open: listen on 127.0.0.1, or put a proxy with TLS in front and set apps_url to its https URL"
            )
        return self

    @model_validator(mode="after")
    def _oidc_is_complete(self) -> Self:
        given = sorted(name for name in self.model_fields_set if name.startswith("oidc_") and getattr(self, name))
        if given and not (self.oidc_issuer and self.oidc_client_id):
            raise ValueError(f"{given[0]} is set, but oidc_issuer and oidc_client_id are not both: give both, or none")
        if self.oidc_issuer and not (self.oidc_groups or self.oidc_domains):
            raise ValueError(
                "oidc_issuer is set, but neither oidc_groups nor oidc_domains is: everybody with an account there would"
                f" get in; give groups or domains, or {ANYONE} as oidc_domains if that is meant"
            )
        return self

    @property
    def login_rules(self) -> LoginRules | None:
        """Who of the OIDC issuer may log in; None without an issuer."""
        if not self.oidc_issuer:
            return None
        return LoginRules(
            self.oidc_issuer,
            self.oidc_client_id,
            self.oidc_audience or self.oidc_client_id,
            self.oidc_user_claim,
            tuple(filter(None, self.oidc_groups.split(","))),
            tuple(filter(None, self.oidc_domains.lower().split(","))),
            Role(self.oidc_role.upper()),
        )

    def read_oidc_secret(self) -> str:
        """The secret of the client at the issuer, read from its file again; "" for none. Raises ValueError."""
        if self.oidc_client_secret_file is not None:
            return read_secret(self.oidc_client_secret_file, "oidc_client_secret_file")
        return self.oidc_client_secret.get_secret_value() if self.oidc_client_secret else ""

    @property
    def quota_of_roles(self) -> Mapping[Role, Quota]:
        """The quota of each role."""
        return parse_quotas(self.quota)

    def site(self, account: str) -> Site:
        """Where URLs of sessions begin; `account` is that of the server."""
        return Site.parse(self.apps_url or f"http://{LOCAL}:{self.apps_port}", account)

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

    @property
    def database_again(self) -> Callable[[], str] | None:
        """Reads the URL of the database from its file again; None if it is not in a file. Raises ValueError."""
        file = self.database_url_file
        return None if file is None else partial(read_secret, file, "database_url_file")


class RunnerSettings(Settings):
    """Settings of `netvps runner`: one machine that sessions run on."""

    table: ClassVar[str] = "runner"

    server: Address = Field(default="127.0.0.1:7443", description="HOST:PORT of the server's API, for joining")
    link: Address | None = Field(default=None, description="HOST:PORT for runners; by default as the server announces")
    name: str = Field(default_factory=own_name, description="name of this machine in netvps")
    join_token: SecretStr | None = Field(default=None, description="single-use token, needed only to join")
    join_token_file: Path | None = Field(default=None, description="file with the join token, needed only to join")
    docker_host: str | None = Field(default=None, description="Docker's socket; by default DOCKER_HOST or its own")
    labels: Annotated[str, BeforeValidator(joined), AfterValidator(runner_labels), Repeatable()] = Field(
        default="", description="labels of this machine, KEY=VALUE, for images_ahead of the server; several with commas"
    )
    no_sessions: bool = Field(
        default=False, description="only join this machine to the overlay: needs no Docker, and gets no sessions"
    )
    snapshot_dir: Path | None = Field(
        default=None, description="with no_sessions: hold copies of snapshots in this directory, for example on a NAS"
    )
    snapshot_registry: Annotated[str, AfterValidator(repository_name)] | None = Field(
        default=None,
        description="with no_sessions: hold copies of snapshots in this repository, HOST[:PORT]/REPOSITORY",
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


def is_repeatable(settings: type[Settings], name: str) -> bool:
    """Whether the flag of a setting may be given several times."""
    return any(isinstance(mark, Repeatable) for mark in settings.model_fields[name].metadata)


def secrets_of(settings: type[Settings]) -> list[str]:
    """Names of the settings that contain a secret."""
    return [name for name in settings.model_fields if f"{name}_file" in settings.model_fields]


PROGRAMS: tuple[type[Settings], ...] = (ServerSettings, RunnerSettings)
