"""The images of deploy/Dockerfile, built without a registry, for all tests of containers."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.system import docker
from tests.support.container_base import RUNNER_PROGRAMS, python_archive, wheels
from tests.support.images import import_image

TARGETS = ("netvps-server", "netvps-runner", "netvps")
_SOURCES = (
    *("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "requirements.lock", "requirements-go.lock"),
    *(".dockerignore", "netvps", "tui", "tunnel", "deploy"),
)


@pytest.fixture(scope="package")
def images(root: Path) -> Iterator[dict[str, str]]:
    """Each target's image, by its name."""
    if made := os.environ.get("NETVPS_TEST_IMAGES"):  # those of a release: PREFIX:TAG
        prefix, _, tag = made.rpartition(":")
        yield {target: f"{prefix}{target}:{tag}" for target in TARGETS}
        return
    tag = secrets.token_hex(4)
    built = {target: f"{target}:{tag}" for target in TARGETS}
    base = f"nvc-base:{tag}"
    with tempfile.TemporaryDirectory(prefix="nvc-") as name:
        context = Path(name, "context")
        context.mkdir()
        for source in _SOURCES:
            copy: Callable[..., object] = shutil.copytree if (root / source).is_dir() else shutil.copy
            copy(root / source, context / source)
        listed = wheels(context / "wheels", root / "requirements.lock")
        listed.replace(context / "wheels/packages")
        packed = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
        subprocess.run([*packed, "-w", context / "wheels", context], check=True, timeout=300, capture_output=True)
        try:
            import_image(python_archive(*RUNNER_PROGRAMS), base)
            for target, image in built.items():
                _build(context, target, image, base)
            yield built
        finally:
            docker("rmi", "-f", *built.values(), check=False)
            docker("image", "prune", "-f", "--filter", f"label=netvps.test={tag}", check=False)
            docker("rmi", "-f", base, check=False)


def _build(context: Path, target: str, image: str, base: str) -> None:
    arguments = [f"BASE={base}", "LOCK=wheels/packages", "VERSION=0.1.0"]
    flags = [word for argument in arguments for word in ("--build-arg", argument)]
    label = f"netvps.test={image.partition(':')[2]}"
    command = ["docker", "build", "-q", "-f", "deploy/Dockerfile", *flags, "--label", label, "--target", target]
    environment = os.environ | {"DOCKER_BUILDKIT": "0"}  # the old builder is enough
    done = subprocess.run(
        [*command, "-t", image, "."], cwd=context, env=environment, capture_output=True, check=False, timeout=600
    )
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
