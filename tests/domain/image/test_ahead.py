"""Images that runners should have ahead."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from netvps.domain.image.ahead import ImageAhead, check_label_pair
from netvps.domain.runner.runner import Runner
from netvps.errors import InvalidInput

NOW = datetime(2026, 11, 30, tzinfo=UTC)
RUNNER = Runner("0000000000001", "lab1", NOW, NOW)
DIGEST = f"debian@sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("text", "reference", "label"),
    [
        ("debian", "debian:latest", ""),
        ("registry.example:5000/tools:1@gpu=yes", "registry.example:5000/tools:1", "gpu=yes"),
        (DIGEST, DIGEST, ""),
        (f"{DIGEST}@room=", DIGEST, "room="),
    ],
)
def test_an_image_for_all_or_for_a_label(text: str, reference: str, label: str) -> None:
    assert ImageAhead.parse(text) == ImageAhead(reference, label)


def test_runners_with_the_label_get_it() -> None:
    labelled = replace(RUNNER, labels=("room=a", "gpu=yes"))
    assert [ImageAhead("debian:12", "gpu=yes").is_for(one) for one in (RUNNER, labelled)] == [False, True]
    assert ImageAhead("debian:12").is_for(RUNNER)
    assert not ImageAhead("debian:12").is_for(replace(RUNNER, no_sessions=True))


@pytest.mark.parametrize("label", ["", "gpu", "=x", "Gpu=x", f"{'a' * 64}=x", "a=" + "x" * 64, "a=x y"])
def test_what_is_no_label_is_refused(label: str) -> None:
    with pytest.raises(InvalidInput, match="KEY=VALUE"):
        check_label_pair(label)
