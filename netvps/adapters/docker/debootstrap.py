"""`netvps env bootstrap`: a Debian root made by debootstrap from the machine's own package source; no registry.

debootstrap needs root. It runs in a container that is made of this machine's own programs (/usr and /etc, read-only)
and nothing else, so that a member of the docker group can do it as well as root, in the same way; and what it leaves
is one container, which is removed whatever happens.
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
from netvps.adapters.docker.images import Images
from netvps.adapters.docker.snapshots import imported
from netvps.adapters.docker.stream import iterate
from netvps.domain.docker_names import LABEL_MANAGED, LABEL_TYPE, environment_image, environment_maker
from netvps.domain.names import check_label
from netvps.errors import NetvpsError

# What one misses at once in a VPS: an editor, a pager, the network's tools, rsync (it has to be on both ends), sudo,
# and something that keeps a shell when the connection breaks. Together 20 MB and a few seconds over bare minbase;
# all else is one apt-get away.
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

# The image's lists are those of the machine. Nothing of this machine's identity, and nothing that can be got again,
# goes into it.
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
    """Makes environment `name` unless it is there: pulled if a registry can be reached, else by debootstrap.

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
    """Makes environment `name` anew from a Debian mirror; `suite` and `mirror` are the machine's own by default.

    Returns its reference. Raises ImageBuildFailed, with the last lines of debootstrap.
    """
    reference = environment_image(check_label(name, "name", _NAME_MAX))
    own = await asyncio.to_thread(own_distribution)
    suite, mirror = suite or own.suite, mirror or own.mirror
    if not await asyncio.to_thread(_PROGRAM.exists):
        raise ImageBuildFailed("debootstrap is not installed: install it (sudo apt-get install debootstrap)")
    if not suite or not mirror:
        raise ImageBuildFailed("this machine's package source is not known: name one (--suite bookworm --mirror URL)")
    container = environment_maker(name)
    try:
        async with asyncio.timeout(_SECONDS):
            await _begin(docker, container, _command(suite, mirror, own))
            await _follow(docker, container, progress)
            progress("making the image")
            await docker.call_slowly(f"environment {name}", lambda api: _import(api, container, reference))
    except TimeoutError:
        raise ImageBuildFailed(f"debootstrap took more than {_SECONDS / 60:.0f} minutes: is {mirror} slow?") from None
    finally:
        await asyncio.shield(_clean(docker, container))
    return reference


async def _pulled(images: Images, reference: str, progress: Progress) -> bool:
    """Whether the image came from its registry; one that does not answer at once is not waited for."""
    try:
        async with asyncio.timeout(_FIRST_BYTE_SECONDS) as deadline:

            def answered(line: str) -> None:
                if " of " in line:
                    deadline.reschedule(None)  # it flows: bounded by the pull's own limit
                progress(line)

            await images.pull(reference, answered, seconds=_PULL_SECONDS)
    except (NetvpsError, TimeoutError) as error:
        progress(
            f"{reference} cannot be pulled ({str(error) or 'no answer'}); making one from this machine's package source"
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
    said = await docker.call_slowly(
        what, lambda api: api.import_image_from_data(root, repository=container, tag="run", changes=ours)
    )
    imported(said)

    def start(api: Api) -> None:
        _remove(api, container, force=False)  # left by a run that was killed; one that runs is refused
        api.create_container(
            f"{container}:run",
            ["/bin/sh", "-c", command],
            name=container,
            labels=_LABELS,
            environment=[f"PATH={_PATH}", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", *_proxies()],
            host_config=api.create_host_config(
                # Not privileged: it needs no more than to mount /proc in the new root.
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
    """Tells how it gets on, to its end. Raises ImageBuildFailed if that was not a good one."""
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
                    if told := _told(line, counts):
                        progress(told)
    except LIBRARY_ERRORS as error:
        raise mapped(error, "debootstrap") from error
    ended = await docker.call("debootstrap", lambda api: api.wait(container, timeout=30))
    if ended["StatusCode"] != 0:
        raise ImageBuildFailed(f"debootstrap failed: {' / '.join(last)}; see whether the mirror can be reached")


def _told(line: str, counts: dict[str, int]) -> str:
    """"I: Retrieving tar 1.34" → "retrieving packages: 57"; '' for what tells nothing."""  # fmt: skip
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
    """Whether what has a name of ours also carries the labels."""
    return _LABELS.items() <= (found["Config"].get("Labels") or {}).items()


def _empty_root() -> bytes:
    """A root with nothing in it but the folders to mount on, and the links that this machine has there."""
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
    """/bin, /lib and the like: links into /usr on all but old machines."""
    return [path for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32") if (path := Path("/", name)).exists()]


def _programs() -> list[str]:
    return ["/usr", "/etc", *(str(path) for path in _top_level() if not path.is_symlink())]


def _proxies() -> list[str]:
    return [f"{name}={value}" for name in _PROXIES if (value := os.environ.get(name) or os.environ.get(name.upper()))]
