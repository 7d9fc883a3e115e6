"""`netvps runner`: the composition root of a runner; joins first if this machine has not joined yet."""

from __future__ import annotations

import asyncio
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import structlog

from netvps import __version__
from netvps.adapters.ca.client_key import signing_request
from netvps.adapters.docker.client import Docker
from netvps.adapters.docker.containers.usage import SessionUsage
from netvps.adapters.docker.engine import DockerEngine
from netvps.adapters.docker.files.shared_directory import SECONDS, SharedDirectory
from netvps.adapters.filter.generation import generation
from netvps.adapters.filter.host import HostFilter
from netvps.adapters.filter.nftables import Nftables
from netvps.adapters.lxcfs import lxcfs_files
from netvps.adapters.netlink.privilege import may_enter_namespaces
from netvps.adapters.nvml import NvmlGpus
from netvps.cli.machine.programs import runner_run
from netvps.domain.runner.runner import KEPT_ADDRESSES
from netvps.errors import ConfigError, Unauthenticated
from netvps.faults import fault_point
from netvps.process import clock
from netvps.process.agent_program import agent_program
from netvps.process.locks import hold
from netvps.process.stopping import Stop
from netvps.programs.wiring.command_line import Program, launch
from netvps.programs.wiring.identity import FOLDER, VOLUMES, Identity, load_identity, own_key, save_identity
from netvps.programs.wiring.overlay import overlay
from netvps.programs.wiring.renewing_link import IdentityRefused, RenewingLink, not_good_now
from netvps.rpc.client.link_client import join
from netvps.runner.image.copies import ImageCopies
from netvps.runner.runner import Runner
from netvps.runner.session.features import Features
from netvps.runner.settings import RunnerSettings as Place
from netvps.services.access.tokens import JOIN, Token
from netvps.settings import RunnerSettings
from netvps.timing import observe_durations

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from netvps.adapters.registry.snapshots import RegistrySnapshots
    from netvps.process.readiness import Readiness

log = structlog.get_logger()


async def run(settings: RunnerSettings, readiness: Readiness) -> None:
    """Runs until a signal; containers keep running. Raises ConfigError, or Unavailable if Docker is needed and is."""
    folders = settings.paths
    folders.prepare()
    own = folders.state / FOLDER
    own.mkdir(mode=0o700, exist_ok=True)
    with hold(own / "lock", "netvps runner"), Stop() as stop:
        await stop.run(_serve(settings, readiness))


async def _serve(settings: RunnerSettings, readiness: Readiness) -> None:
    if (settings.snapshot_dir or settings.snapshot_registry) and not settings.no_sessions:
        given = "--snapshot-dir" if settings.snapshot_dir else "--snapshot-registry"
        raise ConfigError(f"{given} is for a runner of its own: add --no-sessions, and a state folder")
    if settings.snapshot_dir and settings.snapshot_registry:
        raise ConfigError("--snapshot-dir and --snapshot-registry are for a runner each: start two")
    program = agent_program(settings.agent_dir)
    docker = None if settings.no_sessions else await Docker.open(settings.docker_host)  # before the token is consumed
    try:
        state = settings.paths.state
        identity = await _identity(settings, state)
        place = Place(
            uid=identity.uid,
            name=identity.name,
            version=__version__,
            state_dir=state / FOLDER,
            run_dir=settings.paths.runtime / "sessions",
            agent=program,
            tunnel_address=identity.link,
            lacks=frozenset() if docker and may_enter_namespaces() else frozenset({KEPT_ADDRESSES}),
            labels=tuple(settings.labels.split(",")) if settings.labels else (),
        )
        engine = await _engine(docker, place) if docker else None
        host_filter = HostFilter(Nftables(generation=generation)) if docker else None
        async with (
            overlay(settings, place, docker) as network,  # opens its sockets before gRPC starts threads
            RenewingLink(identity, state, readiness.ready) as link,
            AsyncExitStack() as stack,
        ):
            image_copies = ImageCopies(engine.image_travel, link) if engine else None
            if engine and image_copies:
                engine.pull_with(link.registry_login, image_copies.fetch)
            meter = SessionUsage(docker, identity.uid)
            travel = engine.travelling if engine else await _holder(settings, identity.uid, link, stack)
            features = Features(NvmlGpus(), lxcfs_files) if engine else None
            runner = Runner(
                link,
                engine,
                place,
                network,
                host_filter,
                meter=meter,
                travel=travel,
                features=features,
                environments=engine.environments if engine else None,
                image_copies=image_copies,
                tasks=engine.tasks if engine else None,
            )
            async with _measured(runner, link, settings.metrics_port), asyncio.TaskGroup() as group:
                group.create_task(link.keep_renewing(clock.now), name="certificate")
                group.create_task(_run(runner, identity, state), name="runner")
    finally:
        if docker:
            docker.close()


async def _engine(docker: Docker, place: Place) -> DockerEngine:
    if hidden := await docker.hidden(place.state_dir, place.run_dir):
        raise ConfigError(hidden)
    return DockerEngine(
        docker,
        node=place.uid,
        node_name=place.name,
        copies=place.state_dir / "copies",
        volumes=place.state_dir / VOLUMES,
    )


async def _holder(
    settings: RunnerSettings, uid: str, link: RenewingLink, stack: AsyncExitStack
) -> SharedDirectory | RegistrySnapshots | None:
    """Where a runner without sessions holds copies of snapshots, if it does. Raises ConfigError."""
    if settings.snapshot_registry is None:
        return await _shared_directory(settings, uid)
    # Imported on demand: it takes a fifth of a second and megabytes that most runners do not need.
    from netvps.adapters.registry.client import Repository
    from netvps.adapters.registry.snapshots import RegistrySnapshots

    host, _, name = settings.snapshot_registry.partition("/")
    found = await stack.enter_async_context(RegistrySnapshots(Repository(host, name, link.registry_login), uid))
    await found.claim()
    return found


async def _shared_directory(settings: RunnerSettings, uid: str) -> SharedDirectory | None:
    """The directory in which a runner without sessions holds copies of snapshots, if it does. Raises ConfigError."""
    if settings.snapshot_dir is None:
        return None
    directory = SharedDirectory(settings.snapshot_dir, uid)
    try:
        async with asyncio.timeout(SECONDS):
            await asyncio.to_thread(directory.claim)
    except TimeoutError:
        raise ConfigError(
            f"{settings.snapshot_dir} did not answer within {SECONDS:.0f} s: check what is mounted"
        ) from None
    return directory


@asynccontextmanager
async def _measured(runner: Runner, link: RenewingLink, port: int | None) -> AsyncIterator[None]:
    """Serves the runner's metrics and health on loopback, if a port is set; it is ready while it is connected."""
    if port is None:
        yield
        return
    # Imported on demand: it takes a fifth of a second and megabytes that most runners do not need.
    from netvps.gateway.http.monitoring import HttpGateway
    from netvps.programs.wiring.measuring import MetricsPage, RunnerCounts

    async def connected() -> bool:
        return link.is_connected

    page = MetricsPage(RunnerCounts(runner).read)
    with observe_durations(page.metrics.observe_duration):
        async with HttpGateway({"server": connected}, host="127.0.0.1", port=port, metrics=page):
            yield


async def _run(runner: Runner, identity: Identity, state: Path) -> None:
    try:
        await runner.run()
    except* IdentityRefused as group:
        raise ConfigError(
            f"the server at {identity.link} refuses runner {identity.name}: {group.exceptions[0]}; to join as a new"
            f" one, move {state / FOLDER} elsewhere and use a new token (`netvps runner join-token`); containers and"
            " files of its sessions stay in Docker, but no server knows them then"
        ) from group


async def _identity(settings: RunnerSettings, state: Path) -> Identity:
    """The runner's identity, from the state folder or by joining. An expired one joins again as the same runner.

    Configured addresses override those of the join.
    """
    identity = await asyncio.to_thread(load_identity, state)
    if identity is None or (settings.join_token is not None and not identity.good(clock.now())):
        identity = await _join(settings, state)
    elif not identity.good(clock.now()):
        raise ConfigError(not_good_now(identity))
    if "server" in settings.model_fields_set:
        identity = replace(identity, server=settings.server)
    return replace(identity, link=settings.link) if settings.link else identity


async def _join(settings: RunnerSettings, state: Path) -> Identity:
    if settings.join_token is None:
        raise ConfigError(
            "this machine has not joined yet: on the server, run 'netvps runner join-token', then start the runner with"
            " --server HOST:PORT --join-token-file FILE"
        )
    token = settings.join_token.get_secret_value()
    if Token.parse(token, JOIN) is None:
        raise Unauthenticated("this is no join token: make one with 'netvps runner join-token' on the server")
    key = await asyncio.to_thread(own_key, state)
    fault_point("identity.key_kept")
    joined = await join(settings.server, token, signing_request(key), settings.name)
    identity = Identity(
        joined.runner, key, joined.certificate, joined.ca_certificate, settings.server, joined.link_address
    )
    fault_point("identity.before_save")
    await asyncio.to_thread(save_identity, state, identity)
    fault_point("identity.after_save")
    log.info("joined", runner=identity.name, server=identity.server)
    return identity


RUNNER = Program(runner_run, run)

if __name__ == "__main__":
    sys.exit(launch(RUNNER))
