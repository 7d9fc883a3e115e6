"""Reads YAML into plain values, and knows in which line each is; `${VAR}` is replaced by a variable."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import yaml

from netvps.domain.checks import shown
from netvps.errors import InvalidInput, Violation

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES: Final = 256 << 10
_TAG: Final = "tag:yaml.org,2002:"
_VARIABLE: Final = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)\}|(?P<wrong>\{))")
_BOOLEANS: Final = {"true": True, "false": False}

Path = tuple[str, ...]


@dataclass
class Document:
    """A YAML document: its values, and where each is."""

    file: str
    value: Any = None
    lines: dict[Path, str] = field(default_factory=dict)
    """"FILE:LINE", or another place that a value comes from, by the path of keys to it."""

    def place(self, path: Path) -> str:
        """Where a value is, or the nearest that it is in."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, self.file)

    def violation(self, path: Path, description: str) -> Violation:
        """What is wrong with a value, with its place."""
        return Violation(": ".join(part for part in (self.place(path), ".".join(path)) if part), description)


def read_document(text: str, file: str, variables: Mapping[str, str]) -> Document:
    """Parses one document. Raises InvalidInput with all that is wrong, each with its line.

    Numbers stay text as they were written (1.10, 0755); only true, false and null are values of their own.
    """
    document = Document(file)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is None:
            raise InvalidInput.of(file, "it is empty: declare a deployment and its services")
        reader = _Reader(document, variables)
        document.value = reader.value(node, ())
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidInput.of(f"{file}:{line}", f"this is no YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:  # a character that YAML does not have
        raise InvalidInput.of(file, f"this is no YAML: {shown(str(error).partition(chr(10))[0], 200)[1:-1]}") from None
    except RecursionError:
        raise InvalidInput.of(file, "it is nested too deeply: a deployment has five levels") from None
    if reader.violations:
        raise InvalidInput(*reader.violations)
    return document


class _Reader:
    """Turns nodes into values."""

    def __init__(self, document: Document, variables: Mapping[str, str]) -> None:
        self._document, self._variables = document, variables
        self._seen: set[int] = set()
        self.violations: list[Violation] = []

    def value(self, node: yaml.Node, path: Path) -> Any:
        """The value of a node."""
        self._document.lines[path] = f"{self._document.file}:{node.start_mark.line + 1}"
        if id(node) in self._seen:  # an alias; it may even contain itself
            self._wrong(path, "an alias (*name) is not taken: write the value again")
            return None
        self._seen.add(id(node))
        match node:
            case yaml.MappingNode():
                return self._mapping(node, path)
            case yaml.SequenceNode():
                return [self.value(item, (*path, str(index))) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in node.value:
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else ""
            here = (*path, name)
            if name in found or not name:
                self._document.lines[here] = f"{self._document.file}:{key.start_mark.line + 1}"
                self._wrong(here, "this key is given twice: give it once" if name else "a key is a word")
                continue
            found[name] = self.value(item, here)
            self._document.lines[here] = f"{self._document.file}:{key.start_mark.line + 1}"
        return found

    def _scalar(self, node: yaml.Node, path: Path) -> str | bool | None:
        text = str(node.value)
        if node.tag == f"{_TAG}null":
            return None
        if node.tag == f"{_TAG}bool" and text.lower() in _BOOLEANS:
            return _BOOLEANS[text.lower()]
        return _VARIABLE.sub(lambda match: self._variable(match, path), text)

    def _variable(self, match: re.Match[str], path: Path) -> str:
        if match["dollar"]:
            return "$"
        if match["wrong"]:
            self._wrong(path, "${ begins a variable such as ${TAG}: write $${ for the characters themselves")
            return ""
        if (value := self._variables.get(match["name"])) is None:
            self._wrong(path, f"variable {match['name']} is not set: set it, or write its value")
            return ""
        return value

    def _wrong(self, path: Path, description: str) -> None:
        self.violations.append(self._document.violation(path, description))
