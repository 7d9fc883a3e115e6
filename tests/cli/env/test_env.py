"""`netvps env` against a fake server; so of netvps.cli.env.pull, too."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from netvps import exit_codes
from netvps.domain.image.image import ImageProgress, ImageView
from netvps.domain.runner.runner import RunnerState
from netvps.errors import NotFound, NotPermitted, Unavailable, WrongState
from tests.cli.conftest import Run
from tests.cli.fake_client import NOW, FakeClient

DEBIAN = ImageView("box1", "netvps/debian:latest", "sha256:" + "a" * 64, 3 << 20, "amd64", NOW, True, 2)
TOOLS = replace(DEBIAN, reference="registry.example/tools:1", is_default=False, session_count=0)


@pytest.fixture(autouse=True)
def _images(fake: FakeClient) -> None:
    fake.images = [DEBIAN, replace(DEBIAN, runner="box2"), TOOLS]


def test_images_are_listed_with_what_uses_them(run: Run, fake: FakeClient) -> None:
    heading, first, *rest = run("env", "ls").out.splitlines()
    assert heading.split() == ["IMAGE", "RUNNER", "SIZE", "ARCH", "AGE", "SESSIONS", "DEFAULT"]
    assert first.split()[:4] == ["netvps/debian:latest", "box1", "3M", "amd64"]
    assert first.split()[5:] == ["2", "default"]
    assert len(rest) == 2
    assert "aaaaaaaaaaaa" in run("env", "ls", "-o", "wide").out
    assert [one["name"] for one in json.loads(run("env", "ls", "--runner", "box2", "-o", "json").out)] == [
        "runners/box2/images/netvps/debian:latest"
    ]
    fake.silent_runners = ("box3",)
    assert "runner box3 could not be asked" in run("env", "ls").err
    fake.images, fake.silent_runners = [], ()
    assert "netvps env pull IMAGE" in run("env", "ls").err


def test_an_image_is_removed_from_all_runners_or_from_one(run: Run, fake: FakeClient) -> None:
    assert run("env", "rm", "--yes", "debian").out == "netvps/debian:latest\n"
    assert [one for one in fake.asked if one[0] == "delete_image"] == [
        ("delete_image", "box1", "netvps/debian:latest", True),
        ("delete_image", "box2", "netvps/debian:latest", True),
    ]
    fake.asked.clear()
    run("env", "rm", "--yes", "netvps/debian", "--runner", "box2")
    assert [one[1] for one in fake.asked if one[0] == "delete_image"] == ["box2"]
    ran = run("env", "rm", "--yes", "none")
    assert (ran.code, "no runner has an image none" in ran.err) == (exit_codes.of(NotFound("")), True)


def test_what_keeps_an_image_is_printed_for_each_runner(run: Run, fake: FakeClient) -> None:
    fake.errors["delete_image"] = WrongState("image is used by session dev1.alice")
    ran = run("env", "rm", "--yes", "debian")
    assert ran.code == exit_codes.of(WrongState(""))
    assert ran.err.count("is used by session dev1.alice") == 2
    assert len([one for one in fake.asked if one[0] == "delete_image"]) == 2


def test_the_default_is_printed_and_chosen(run: Run, fake: FakeClient) -> None:
    assert run("env", "default").out == "netvps/debian:latest\n"
    assert json.loads(run("env", "default", "-o", "json").out) == {"reference": "netvps/debian:latest", "revision": "3"}
    assert run("env", "default", "debian").out == "netvps/debian:latest\n"
    ran = run("env", "default", "debian:12")
    assert (ran.out, "no runner has debian:12 yet" in ran.err) == ("debian:12\n", True)
    run("env", "default", "--reset")
    assert [one[1] for one in fake.asked if one[0] == "update_default_image"] == [
        "netvps/debian:latest",
        "debian:12",
        "",
    ]
    assert run("env", "default", "--reset", "debian").code == exit_codes.USAGE
    assert "IMAGE: 'Not An' is not the name of an image" in run("env", "default", "Not An").err


def test_a_pull_shows_how_far_it_is_on_each_runner(run: Run, fake: FakeClient) -> None:
    fake.pulled = [ImageProgress("pulling a:1", 1_000_000, 4_000_000, 0, 1, 7.0), replace(TOOLS, reference="a:1")]
    ran = run("env", "pull", "a:1")
    assert ran.out == "a:1\n"
    assert ran.err.splitlines() == [
        "runner box1: pulling a:1: 1 MB of 4 MB, 0 of 1 layers, 7 s left",
        "runner box1 has a:1, amd64",
    ]
    run("env", "pull", "a", "--runner", "box1", "--runner", "box2", "--runner", "box1")
    assert [one[1:] for one in fake.asked if one[0] == "pull_image"] == [
        ("box1", "a:1"),
        ("box1", "a:latest"),
        ("box2", "a:latest"),
    ]


def test_a_pull_that_fails_somewhere_goes_on_elsewhere(run: Run, fake: FakeClient) -> None:
    fake.pulled = [NotPermitted("image a:1: its registry requires a login")]
    ran = run("env", "pull", "a:1", "--runner", "box1", "--runner", "box2")
    assert (ran.code, ran.out) == (exit_codes.of(NotPermitted("")), "")
    assert "runner box2: image a:1: its registry requires a login" in ran.err
    fake.pulled = []
    assert "did not say what became of it" in run("env", "pull", "a:1").err


def test_a_pull_that_is_interrupted_says_so(run: Run, fake: FakeClient) -> None:
    fake.pulled = [ImageProgress("pulling a:1"), KeyboardInterrupt()]
    ran = run("env", "pull", "a:1")
    assert ran.code == exit_codes.INTERRUPTED
    assert "runner box1 ends its work" in ran.err


def test_a_pull_without_a_runner_is_no_success(run: Run, fake: FakeClient) -> None:
    fake.state = RunnerState.OFFLINE
    ran = run("env", "pull", "a:1")
    assert (ran.code, "no runner is online" in ran.err) == (exit_codes.of(Unavailable("")), True)
    assert "IMAGE: 'A B' is not the name of an image" in run("env", "pull", "A B").err


def test_a_session_is_published(run: Run, fake: FakeClient) -> None:
    fake.pulled = [ImageProgress("publishing", 1_000_000, 2_000_000), replace(TOOLS, reference="netvps/tools:1")]
    ran = run("env", "publish", "tools", "work", "--tag", "1")
    assert ran.out == "netvps/tools:1\n"
    assert ran.err.splitlines() == [
        "session work: publishing: 1 MB of 2 MB",
        "runner box1 has netvps/tools:1",
    ]
    assert fake.asked[-1] == ("publish_image", "work", "tools", "1")
