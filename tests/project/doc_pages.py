"""The commands of the documents, and which tests run them.

A block that begins with ```sh is run as printed, by the test of tests/e2e that RUN names. In a block that begins with
```sh unrun, tests check that each command exists with its flags, and no more: it needs a second machine, a network
interface or hours.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

# What plain technical English does not need.
NOT_USED: Final = (
    r"\b(shall|anew|nobody|somebody|for ever|but for|so many seconds|the like|comes right|mend\w*|trouble\w*|as it is"
    r"|what is there|made way|told|knock\w*|is no error)\b"
)
ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RUN: Final = {
    "README.md": "test_newcomer.py",
    "docs/quickstart.md": "test_guides.py",
    "docs/api.md": "test_pages.py",
    "docs/schedulers.md": "test_examples.py",
    "docs/tasks.md": "test_tasks.py",
    "docs/http.md": "test_urls.py",
    "docs/deployments.md": "test_urls.py",
    "docs/keys.md": "test_pages.py",
    "docs/login.md": "test_pages.py",
    "docs/people.md": "test_pages.py",
    "docs/ports.md": "test_pages.py",
    "docs/sleep.md": "test_pages.py",
    "docs/snapshots.md": "test_pages.py",
    "docs/ssh.md": "test_pages.py",
    "docs/problems.md": "test_pages.py",
    "docs/environments.md": "test_pages.py",
    "docs/security.md": "test_pages.py",
    "docs/settings.md": "test_pages.py",
    "docs/sharing.md": "test_sharing.py",
    "docs/remote.md": "test_pages.py",
    "docs/postgresql.md": "test_pages.py",
    "docs/operations.md": "test_pages.py",
    "docs/upgrade.md": "test_upgrade.py",
}
_PYTHON: Final = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
_BLOCK: Final = re.compile(r"^```sh( unrun)?\n(.*?)^```", re.DOTALL | re.MULTILINE)


def run_lines(document: str) -> list[str]:
    """Lines of the blocks that are run, in order."""
    return [line for unrun, block in _blocks(document) if not unrun for line in block.splitlines() if line]


def all_lines(document: str) -> list[str]:
    """Lines of all blocks of commands, in order."""
    return [line for _, block in _blocks(document) for line in block.splitlines() if line]


def python_blocks(document: str) -> list[str]:
    """Python programs, in order."""
    return _PYTHON.findall((ROOT / document).read_text(encoding="utf-8"))


def _blocks(document: str) -> list[tuple[str, str]]:
    return _BLOCK.findall((ROOT / document).read_text(encoding="utf-8"))
