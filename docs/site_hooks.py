"""Hooks of mkdocs: pages of docs/ are written to be read in the repository; this adapts them to the site."""

import re

_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?!adr/|benchmarks/)[^)]*\)")
"""A link to a file of the repository that is no page."""


def on_page_markdown(markdown: str, **_: object) -> str:
    """Leaves the text of links that lead out of docs/, and the language of blocks that no test runs."""
    return _OUTSIDE.sub(r"\1", markdown).replace("```sh unrun\n", "```sh\n")
