"""The full definition of a session's container, as a value that tests can compare."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Final

from netvps.domain.runner.docker_names import LABEL_HOLD, LABEL_LAYOUT, container_name, session_labels, volume_name
from netvps.domain.session.attachment import Attachment, attachment_of
from netvps.domain.session.container import SourceImage
from netvps.domain.session.session import Assignment

AGENT_PATH: Final = "/.netvps/agent"
RUN_PATH: Final = "/.netvps/run"
PRIVATE_PATH: Final = "/.netvps/private"
RESOLV_CONF_PATH: Final = "/etc/resolv.conf"

# Capabilities of Docker's default set that a VPS does not need: creating device nodes (MKNOD) and passing
# capabilities on (SETPCAP). Kept are those for apt and dpkg (CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SETUID, SETGID), for
# ping and its installation (NET_RAW, SETFCAP), for sudo and sshd (AUDIT_WRITE, SYS_CHROOT, KILL), and for low ports
# (NET_BIND_SERVICE). Mounting was never in the default set.
DROPPED_CAPABILITIES: Final = ("MKNOD", "SETPCAP")


@dataclass(frozen=True, slots=True)
class Bind:
    """A bind mount: a path of the machine inside the container."""

    source: str
    target: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class Tmpfs:
    """A tmpfs private to the container: it lives for one run, and its size is limited."""

    target: str
    size_bytes: int
    inodes: int


AGENT_TMPFS: Final = Tmpfs(PRIVATE_PATH, size_bytes=4 << 20, inodes=64)
"""Where the agent writes. A session gets no writable bind mount of the machine, because that would have no size limit.
"""


@dataclass(frozen=True, slots=True)
class Volume:
    """A named volume in place of an anonymous one that the image declares. It outlives the container."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class Extras:
    """What a machine has that not all have. It does not count for the layout: a container without it is kept."""

    lxcfs: tuple[Bind, ...] = ()
    has_gpus: bool = False


NOTHING: Final = Extras()
GPU_VARIABLE: Final = "NVIDIA_VISIBLE_DEVICES"
"""Where Docker's default runtime is NVIDIA's, it gives a container the GPUs that this variable names."""


@dataclass(frozen=True, slots=True)
class Blueprint:
    """All parameters of the container for Docker; 0 means no limit."""

    session_uid: str
    name: str
    image: str
    hostname: str
    labels: dict[str, str]
    env: tuple[str, ...]
    entrypoint: tuple[str, ...]
    binds: tuple[Bind, ...]
    tmpfs: tuple[Tmpfs, ...]
    volumes: tuple[Volume, ...]
    cpus: float
    memory_bytes: int
    shm_bytes: int
    open_files: int
    pids: int
    attachment: Attachment
    disk_bytes: int = 0
    gpus: tuple[str, ...] = ()
    user: str = "0"
    """By number: an image may have no /etc/passwd; '' is the image's own."""
    log_mib: int = 10
    """Size of each of the two files of its log."""
    working_dir: str = "/"
    """'' is the image's own."""


def blueprint(
    assignment: Assignment,
    source: SourceImage,
    *,
    node: str,
    machine_memory: int,
    agent: PurePath,
    run: PurePath,
    resolv_conf: PurePath,
    extra: Extras = NOTHING,
) -> Blueprint:
    """The container of an assignment.

    `node` is the runner's uid; `machine_memory` is in bytes. Paths on the machine: `agent`, the agent's binary; `run`,
    the session's runtime folder; `resolv_conf`, a file with the content that domain.session.attachment defines.
    `extra` is what the machine has besides.
    """
    spec = assignment.spec
    names = (Bind(str(resolv_conf), RESOLV_CONF_PATH, read_only=True),) if assignment.address else ()
    binds = (Bind(str(agent), AGENT_PATH, read_only=True), Bind(str(run), RUN_PATH, read_only=True), *names)
    # The default size of a tmpfs on Linux. Docker's 64 MB are too few for databases, browsers and data loaders.
    shm_bytes = spec.shm_bytes or (spec.memory_bytes or machine_memory) // 2
    # Not the limits, which change without a new container.
    layout = _layout(
        binds, AGENT_TMPFS, spec.shm_bytes, assignment.session_id, *((spec.open_files,) if spec.open_files else ())
    )
    return Blueprint(
        session_uid=assignment.session_uid,
        name=container_name(assignment.session_uid),
        image=source.reference,
        hostname=assignment.session_id,
        labels=session_labels(assignment.session_uid, node, assignment.epoch, assignment.generation)
        | {LABEL_LAYOUT: layout, LABEL_HOLD: "true"},
        env=tuple(
            f"{name}={value}"
            for name, value in sorted(container_env(assignment.spec.env, assignment.gpus, extra).items())
        ),
        entrypoint=(AGENT_PATH, "init", *(_command(source, spec.command) if spec.run_entrypoint else ())),
        binds=(*binds, *extra.lxcfs),
        tmpfs=(AGENT_TMPFS,),
        volumes=tuple(Volume(volume_name(assignment.session_uid, path), path) for path in sorted(source.volumes)),
        cpus=spec.cpus,
        memory_bytes=spec.memory_bytes,
        shm_bytes=shm_bytes,
        open_files=spec.open_files,
        pids=spec.pids,
        attachment=attachment_of(assignment),
        disk_bytes=spec.disk_bytes,
        gpus=assignment.gpus,
    )


def container_env(env: Mapping[str, str], gpus: tuple[str, ...], extra: Extras) -> Mapping[str, str]:
    """On a machine with GPUs, the variable by which an image or a user could get GPUs of other sessions is void.

    For a container with GPUs, Docker sets it to these.
    """
    if not extra.has_gpus:
        return env
    env = {name: value for name, value in env.items() if name != GPU_VARIABLE}
    return env if gpus else env | {GPU_VARIABLE: "void"}


def _command(source: SourceImage, given: tuple[str, ...]) -> tuple[str, ...]:
    """Arguments with which `agent init` runs the image's command, as the image's USER and in its WORKDIR.

    What is `given` takes the place of the image's CMD, as in `docker run IMAGE COMMAND`.
    """
    command = (*source.entrypoint, *(given or source.command))
    if not command:
        return ()
    user = ("-user", source.user) if source.user else ()
    folder = ("-work-dir", source.working_dir) if source.working_dir else ()
    return (*user, *folder, "--", *command)


def _layout(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
