"""Requests for parts of images."""

from __future__ import annotations

import pytest

from netvps.domain.image.copies import ImageRequest
from netvps.errors import InvalidInput

DIGEST = "sha256:" + "a" * 64


def test_a_description_and_a_layer_can_be_asked_for() -> None:
    assert ImageRequest("", "netvps/dev:latest").offset == 0
    assert ImageRequest("", "netvps/dev:latest", DIGEST, DIGEST, 7).layer == DIGEST


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InvalidInput) as refused:
        ImageRequest("", "Not/A Name", "sha256:1", "", -1)
    fields = [violation.field for violation in refused.value.violations]
    assert fields == ["reference", "image_digest", "layer_digest", "offset"]
