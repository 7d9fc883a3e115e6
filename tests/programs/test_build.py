"""`netvps env build` against a fake server."""

from __future__ import annotations

import io
import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from netvps import exit_codes
from netvps.domain.image.image import ImageView
from netvps.domain.image.work import ImageLog
from netvps.errors import InvalidInput
from netvps.programs import build
from tests.cli.fake_client import NOW, FakeClient

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

MADE = ImageView("box1", "netvps/tools:latest", "sha256:1", 7, "amd64", NOW, is_default=False, session_count=0)


class Builder(FakeClient):
    """Keeps the context, and says two lines in three parts."""

    def build_image(
        self, runner: str, name: str, tag: str, dockerfile: str, context: Iterator[bytes]
    ) -> Generator[Any, None, None]:
        self._ask("build_image", runner, name, tag, dockerfile)
        self.context = b"".join(context)
        yield from (ImageLog("Step 1"), ImageLog(" : FROM scratch\nSte"), ImageLog("p 2\n"), replace(MADE))


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> Builder:
    made = Builder()
    monkeypatch.setattr(build, "dial", lambda _context: made)
    monkeypatch.setattr(build, "resolve", lambda name: name)
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    return tmp_path


def test_a_folder_is_sent_and_the_builders_words_are_shown(
    builder: Builder, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert build.main(["tools", str(folder), "--tag", "1"]) == exit_codes.OK
    said = capfd.readouterr()
    assert said.out == "netvps/tools:latest\n"
    assert said.err.splitlines() == ["Step 1 : FROM scratch", "Step 2"]
    assert builder.asked[-1] == ("build_image", "box1", "tools", "1", "Dockerfile")
    with tarfile.open(fileobj=io.BytesIO(builder.context)) as archive:
        assert archive.getnames() == ["Dockerfile"]


def test_what_is_wrong_is_named_and_nothing_is_sent(
    builder: Builder, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for words, why in (
        (["Tools", str(folder)], "is not a name"),
        (["tools", str(folder), "--file", "none"], "there is no none"),
    ):
        assert build.main(words) == exit_codes.of(InvalidInput.of("x", "y"))
        assert why in capfd.readouterr().err
    assert builder.asked == []
