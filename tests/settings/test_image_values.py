"""Settings about images and registries."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from netvps.settings.image_values import images_for_runners, repository_name, runner_labels


def test_lists_are_kept_without_spaces_and_repetitions() -> None:
    assert runner_labels("gpu=yes, room=a,gpu=yes") == "gpu=yes,room=a"
    assert images_for_runners("debian:12, netvps/dev@gpu=yes") == "debian:12,netvps/dev@gpu=yes"
    assert repository_name("registry.example:5000/netvps/snapshots") == "registry.example:5000/netvps/snapshots"
    assert (runner_labels(""), images_for_runners("")) == ("", "")


@pytest.mark.parametrize(
    ("check", "value", "rule"),
    [
        (repository_name, "registry.example", "give HOST"),
        (repository_name, "registry.example/netvps/snapshots:1", "without a tag"),
        (repository_name, "https://registry.example/netvps", "give HOST"),
        (runner_labels, "gpu", "is not KEY=VALUE"),
        (runner_labels, "GPU=yes", "is not KEY=VALUE"),
        (images_for_runners, "Not A Name", "is not the name of an image"),
        (images_for_runners, "debian:12@Gpu=yes", "is not KEY=VALUE"),
        (images_for_runners, "@gpu=yes", "is not the name of an image"),
    ],
)
def test_what_is_wrong_is_refused_with_the_rule(check: Callable[[str], str], value: str, rule: str) -> None:
    with pytest.raises(ValueError, match=rule):
        check(value)
