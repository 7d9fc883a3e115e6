"""Two versions that talk to each other: what to update."""

from __future__ import annotations

from netvps import __version__


def skew_hint(server: str, client: str = __version__) -> str:
    """What to do where server and client differ in more than the patch version; "" where they do not."""
    theirs, ours = _numbers(server), _numbers(client)
    if not theirs or theirs == ours:
        return ""
    older = "this program" if ours < theirs else "the server"
    return f"the server is netvps {server} and this program {client}: update {older}, calls that are new may fail"


def _numbers(version: str) -> tuple[int, ...]:
    parts = version.split(".")[:2]
    return tuple(int(part) for part in parts) if all(part.isdecimal() for part in parts) else ()
