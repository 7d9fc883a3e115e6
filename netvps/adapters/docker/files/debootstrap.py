"""Builds an environment's image with debootstrap, from the machine's own package source; needs no registry.

debootstrap needs root. It runs in a container made of this machine's own programs (/usr and /etc, read-only) and
nothing else, so a member of the docker group can do it like root, in the same way. The container is removed in any
case.
"""

from __future__ import annotations

import asyncio
import io
import os
import shlex
import tarfile
from collections.abc import Callable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final

from docker import errors as docker_errors
from docker.types import LogConfig, Mount

from netvps.adapters.apt_sources import Distribution, own_distribution
from netvps.adapters.docker.client import Answer, Api, Docker
from netvps.adapters.docker.errors import LIBRARY_ERRORS, ImageBuildFailed, mapped
from netvps.adapters.docker.files.images import Images
from netvps.adapters.docker.files.snapshots import imported
from netvps.adapters.docker.stream import iterate
from netvps.domain.names import check_label
from netvps.domain.runner.docker_names import LABEL_MANAGED, LABEL_TYPE, environment_image, environment_maker
from netvps.errors import NetvpsError

# What users of a VPS expect: an editor, a pager, network tools, rsync (needed at both ends), sudo, and tmux, which
# keeps a shell when the connection breaks. Together 20 MB and a few seconds more than minbase; apt-get installs the
# rest.
INCLUDE: Final = (
    "ca-certificates",
    "curl",
    "iproute2",
    "iputils-ping",
    "less",
    "nano",
    "procps",
    "rsync",
    "sudo",
    "tmux",
)
_SECONDS = 1800.0
_FIRST_BYTE_SECONDS = 20.0
_PULL_SECONDS = 1200.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CHANGES = ('CMD ["/bin/bash"]', f"ENV PATH={_PATH}", "ENV LANG=C.UTF-8")
_PROGRAM = Path("/usr/sbin/debootstrap")
_NAME_MAX = 63
_LABELS = {LABEL_MANAGED: "true", LABEL_TYPE: "env"}
_PROXIES = ("http_proxy", "https_proxy", "no_proxy")

# apt's sources are the machine's. The image contains nothing of this machine's identity, and no caches.
_SCRIPT = """
set -eu
debootstrap --variant=minbase --include={include} {suite} /target {mirror}
printf '%s\\n' {sources} > /target/etc/apt/sources.list
rm -rf /target/var/cache/apt/archives/*.deb /target/var/cache/apt/*.bin /target/var/lib/apt/lists/*
rm -rf /target/var/log/*.log /target/var/log/apt/* /target/var/cache/debconf/*-old /target/debootstrap
rm -f /target/etc/hostname /target/etc/resolv.conf /target/etc/ssh/ssh_host_*
: > /target/etc/machine-id
"""


Progress = Callable[[str], None]


async def ensure_environment(docker: Docker, name: str, registry_image: str, progress: Progress) -> str:
    """Provides environment `name`: pulls it if a registry can be reached, else builds it with debootstrap.

    Returns its reference, "netvps/NAME:latest". `registry_image` '' skips the registry.
    """
    reference = environment_image(check_label(name, "name", _NAME_MAX))
    images = Images(docker)
    if await images.find(reference):
        return reference
    if registry_image and await _pulled(images, registry_image, progress):
        await images.tag(registry_image, reference)
        return reference
    return await bootstrap(docker, name, progress)


async def bootstrap(
    docker: Docker, name: str, progress: Progress, *, suite: str = "", mirror: str = ""
) -> str:  # fmt: skip
    """Builds environment `name` from a Debian mirror; `suite` and `mirror` default to the machine's own.

    Replaces an existing one; returns its reference. Raises ImageBuildFailed, with the last lines of debootstrap.
    """
    reference = environment_image(check_label(name, "name", _NAME_MAX))
    own = await asyncio.to_thread(own_distribution)
    suite, mirror = suite or own.suite, mirror or own.mirror
    if not await asyncio.to_thread(_PROGRAM.exists):
        raise ImageBuildFailed("debootstrap is not installed; install it (sudo apt-get install debootstrap)")
    if not suite or not mirror:
        raise ImageBuildFailed("this machine's package source is unknown; name one (--suite bookworm --mirror URL)")
    container = environment_maker(name)
    try:
        async with asyncio.timeout(_SECONDS):
            await _begin(docker, container, _command(suite, mirror, own))
            await _follow(docker, container, progress)
            progress("making the image")
            await docker.call_slowly(f"environment {name}", lambda api: _import(api, container, reference))
    except TimeoutError:
        raise ImageBuildFailed(
            f"debootstrap took more than {_SECONDS / 60:.0f} minutes; check whether {mirror} is slow, or use another "
            "--mirror"
        ) from None
    finally:
        await asyncio.shield(_clean(docker, container))
    return reference


async def _pulled(images: Images, reference: str, progress: Progress) -> bool:
    """Pulls the image; returns whether that worked. Gives up early on a registry that does not answer."""
    try:
        async with asyncio.timeout(_FIRST_BYTE_SECONDS) as deadline:

            def answered(line: str) -> None:
                if " of " in line:
                    deadline.reschedule(None)  # data arrives: from here the pull's own timeout applies
                progress(line)

            await images.pull(reference, answered, seconds=_PULL_SECONDS)
    except (NetvpsError, TimeoutError) as error:
        progress(
            f"{reference} cannot be pulled ({str(error) or 'no answer'}); building it from this machine's package "
            "source"
        )
        return False
    return True


def _command(suite: str, mirror: str, own: Distribution) -> str:
    lines = [str(source) for source in own.sources] if suite == own.suite and mirror == own.mirror else []
    return _SCRIPT.format(
        include=",".join(INCLUDE),
        suite=shlex.quote(suite),
        mirror=shlex.quote(mirror),
        sources=" ".join(map(shlex.quote, lines or [f"deb {mirror} {suite} main"])),
    )


async def _begin(docker: Docker, container: str, command: str) -> None:
    what = f"container {container}"
    root = await asyncio.to_thread(_empty_root)
    ours = [f"LABEL {key}={value}" for key, value in _LABELS.items()]
    output = await docker.call_slowly(
        what, lambda api: api.import_image_from_data(root, repository=container, tag="run", changes=ours)
    )
    imported(output)

    def start(api: Api) -> None:
        _remove(api, container, force=False)  # left by a killed run; a running one is refused
        api.create_container(
            f"{container}:run",
            ["/bin/sh", "-c", command],
            name=container,
            labels=_LABELS,
            environment=[f"PATH={_PATH}", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", *_proxies()],
            host_config=api.create_host_config(
                # Not privileged: SYS_ADMIN suffices to mount /proc in the new root.
                cap_add=["SYS_ADMIN"],
                security_opt=["apparmor=unconfined", "seccomp=unconfined"],
                network_mode="host",
                mounts=[Mount(path, path, type="bind", read_only=True) for path in _programs()],
                log_config=LogConfig(type=LogConfig.types.JSON, config={"max-size": "10m"}),
            ),
        )
        api.start(container)

    await docker.call_slowly(what, start, ImageBuildFailed)


async def _follow(docker: Docker, container: str, progress: Progress) -> None:
    """Reports debootstrap's progress until it ends. Raises ImageBuildFailed if it fails."""
    counts: dict[str, int] = {}
    last: list[str] = []
    try:
        stream = iterate(lambda: docker.stream_api.logs(container, stream=True, follow=True), "debootstrap")
        rest = b""
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                *lines, rest = (rest + piece).split(b"\n")
                for line in (raw.decode(errors="replace").strip() for raw in lines):
                    last = [*last[-4:], line] if line else last
                    if step := _progress_line(line, counts):
                        progress(step)
    except LIBRARY_ERRORS as error:
        raise mapped(error, "debootstrap") from error
    ended = await docker.call("debootstrap", lambda api: api.wait(container, timeout=30))
    if ended["StatusCode"] != 0:
        raise ImageBuildFailed(f"debootstrap failed: {' / '.join(last)}; check whether the mirror can be reached")


def _progress_line(line: str, counts: dict[str, int]) -> str:
    """"I: Retrieving tar 1.34" → "retrieving packages: 57"; '' for other lines."""  # fmt: skip
    mark, _, rest = line.partition(": ")
    verb, _, thing = rest.partition(" ")
    if mark != "I" or verb not in {"Retrieving", "Unpacking", "Extracting", "Configuring"} or not thing:
        return ""
    counts[verb] = counts.get(verb, 0) + 1
    return f"{verb.lower()} packages: {counts[verb]}"


def _import(api: Api, container: str, reference: str) -> None:
    pieces, _ = api.get_archive(container, "/target/.")
    repository, _, tag = reference.rpartition(":")
    imported(api.import_image_from_stream(pieces, repository=repository, tag=tag, changes=list(_CHANGES)))


async def _clean(docker: Docker, container: str) -> None:
    def clean(api: Api) -> None:
        _remove(api, container, force=True)
        with suppress(docker_errors.NotFound):
            if _is_ours(api.inspect_image(f"{container}:run")):
                api.remove_image(f"{container}:run", force=True)

    await docker.call_slowly(container, clean)


def _remove(api: Api, container: str, *, force: bool) -> None:
    with suppress(docker_errors.NotFound):
        found = api.inspect_container(container)
        if _is_ours(found):
            api.remove_container(found["Id"], force=force, v=True)


def _is_ours(found: Answer) -> bool:
    """Reports whether an object with a name of netvps also has its labels."""
    return _LABELS.items() <= (found["Config"].get("Labels") or {}).items()


def _empty_root() -> bytes:
    """Builds the archive of an empty root: mount points, and the links that this machine has at the top."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("usr", "etc", "proc", "sys", "dev", "run", "root", "tmp", "var", "var/tmp", "target"):
            archive.addfile(_entry(name, tarfile.DIRTYPE))
        for path in _top_level():
            if path.is_symlink():
                archive.addfile(_entry(path.name, tarfile.SYMTYPE, str(path.readlink())))
            else:
                archive.addfile(_entry(path.name, tarfile.DIRTYPE))
    return buffer.getvalue()


def _entry(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname, entry.mode = kind, target, 0o755
    return entry


def _top_level() -> list[Path]:
    """Returns /bin, /lib etc. of this machine: links into /usr on all but old ones."""
    return [path for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32") if (path := Path("/", name)).exists()]


def _programs() -> list[str]:
    return ["/usr", "/etc", *(str(path) for path in _top_level() if not path.is_symlink())]


def _proxies() -> list[str]:
    return [f"{name}={value}" for name in _PROXIES if (value := os.environ.get(name) or os.environ.get(name.upper()))]
