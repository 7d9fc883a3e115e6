"""Reads apt's sources of this machine, in both formats (sources.list(5))."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_ONE_LINE = re.compile(r"deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)\s*(.*)")


@dataclass(frozen=True, slots=True)
class AptSource:
    """A line "deb URI SUITE COMPONENT…"."""

    uri: str
    suite: str
    components: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(("deb", self.uri, self.suite, *self.components))


@dataclass(frozen=True, slots=True)
class Distribution:
    """This machine's release and its sources: the release itself first, then its updates."""

    suite: str
    sources: tuple[AptSource, ...]

    @property
    def mirror(self) -> str:
        """The URI of the release itself; '' if unknown."""
        return next((source.uri for source in self.sources if source.suite == self.suite), "")


def own_distribution(root: Path = Path("/")) -> Distribution:
    """Reads this machine's release; skips sources of third parties, whose suites differ from the release's."""
    suite = _codename(root)
    lists = [root / "etc/apt/sources.list", *sorted((root / "etc/apt/sources.list.d").glob("*"))]
    found = [source for path in lists if path.is_file() for source in parse(path.name, _text(path))]
    own = [
        s for s in found if suite and "main" in s.components and re.fullmatch(rf"{re.escape(suite)}(-\w+)*", s.suite)
    ]
    return Distribution(suite, tuple(sorted(dict.fromkeys(own), key=lambda source: source.suite != suite)))


def parse(name: str, text: str) -> list[AptSource]:
    """Parses the binary sources of a file; skips malformed and disabled ones, as apt does."""
    if name.endswith(".sources"):
        return [source for stanza in re.split(r"\n\s*\n", text) for source in _stanza(stanza)]
    if not name.endswith(".list"):
        return []
    matches = [_ONE_LINE.fullmatch(line.partition("#")[0].strip()) for line in text.splitlines()]
    return [AptSource(m[1], m[2], tuple(m[3].split())) for m in matches if m]


def _stanza(text: str) -> list[AptSource]:
    """Parses a deb822 stanza: "Field: value", continued by lines that start with a blank."""
    fields: dict[str, str] = {}
    field = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if line[:1].isspace():
            fields[field] = f"{fields.get(field, '')} {line.strip()}"
        elif ":" in line:
            field, _, value = line.partition(":")
            field = field.strip().lower()
            fields[field] = value.strip()
    if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in {"no", "false"}:
        return []
    components = tuple(fields.get("components", "").split())
    return [
        AptSource(uri, suite, components)
        for uri in fields.get("uris", "").split()
        for suite in fields.get("suites", "").split()
    ]


def _codename(root: Path) -> str:
    for line in _text(root / "etc/os-release").splitlines():
        key, _, value = line.partition("=")
        if key == "VERSION_CODENAME":
            return value.strip().strip('"')
    return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
