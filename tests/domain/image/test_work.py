from __future__ import annotations

import pytest

from netvps.domain.image.work import BootstrapImage, BuildImage
from netvps.errors import InvalidInput


@pytest.mark.parametrize("path", ["Dockerfile", "sub/Dockerfile.dev", "./a"])
def test_a_dockerfile_is_a_path_in_the_context(path: str) -> None:
    assert BuildImage("netvps/a:1", path).dockerfile == path


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a\n", "x" * 256])
def test_a_dockerfile_elsewhere_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match="is not a path in the context"):
        BuildImage("netvps/a:1", path)


@pytest.mark.parametrize("mirror", ["", "http://deb.example/debian", "https://[2001:db8::1]:8080/x"])
def test_a_mirror_is_a_url(mirror: str) -> None:
    assert BootstrapImage("deb", "bookworm", mirror).mirror == mirror


def test_every_violation_of_a_bootstrap_is_named() -> None:
    with pytest.raises(InvalidInput) as refused:
        BootstrapImage("Deb", "-x", "file:///etc")
    assert [violation.field for violation in refused.value.violations] == ["environment_id", "suite", "mirror"]
    for mirror in ("http://x y", "http://x'y", "ftp://x", "http://"):
        with pytest.raises(InvalidInput, match="mirror"):
            BootstrapImage("deb", "", mirror)
