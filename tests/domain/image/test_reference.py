from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netvps.domain.image.reference import (
    REFERENCE_MAX,
    check_reference,
    check_registry,
    environment_of,
    same_reference,
)
from netvps.errors import InvalidInput

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("debian", "debian:latest"),
        ("debian:12", "debian:12"),
        ("netvps/debian", "netvps/debian:latest"),
        ("127.0.0.1:5000/a/b_c:Tag.1", "127.0.0.1:5000/a/b_c:Tag.1"),
        ("registry.example/x", "registry.example/x:latest"),
        ("[::1]:5000/x:1", "[::1]:5000/x:1"),
        (f"debian@{DIGEST}", f"debian@{DIGEST}"),
    ],
)
def test_a_reference_gets_a_tag_if_it_names_none(given: str, expected: str) -> None:
    assert check_reference(given) == expected
    assert same_reference(given, expected)


@pytest.mark.parametrize(
    "text",
    ["", "Debian", "a b", "a:", ":a", "a//b", "/a", "a/", "a@sha256:0", "-a", "a:b:c", "https://a/b", "a\n", "../a"],
)
def test_what_is_no_reference_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidInput, match="for example debian:12") as refused:
        check_reference(text, "image")
    assert refused.value.violations[0].field == "image"


def test_references_are_bounded() -> None:
    assert check_reference("a" * REFERENCE_MAX).endswith(":latest")
    with pytest.raises(InvalidInput):
        check_reference("a" * (REFERENCE_MAX + 1))


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        found = check_reference(text)
    except InvalidInput:
        return
    assert found.startswith(text)
    assert check_reference(found) == found
    assert not any(character.isspace() for character in found)


def test_two_names_are_the_same_with_and_without_the_tag() -> None:
    assert same_reference("netvps/debian", "netvps/debian:latest")
    assert not same_reference("debian:12", "debian")
    assert not same_reference("no name", "no name:latest")


@pytest.mark.parametrize("host", ["registry.example", "REGISTRY.example:5000", "127.0.0.1:5000", "[::1]:5000"])
def test_a_registry_is_a_host_with_or_without_a_port(host: str) -> None:
    assert check_registry(host) == host.lower()


@pytest.mark.parametrize(
    "host", ["", "https://registry.example", "registry.example/path", "a b", "a:b", "a:123456", "-a"]
)
def test_what_is_no_registry_is_refused(host: str) -> None:
    with pytest.raises(InvalidInput, match="HOST"):
        check_registry(host)


def test_an_environment_is_known_by_its_reference() -> None:
    assert environment_of("netvps/debian:latest") == "debian"
    assert environment_of("netvps/debian") == "debian"
    assert [environment_of(text) for text in ("netvps/debian:1", "debian:latest", "netvps/a/b:latest")] == ["", "", ""]
