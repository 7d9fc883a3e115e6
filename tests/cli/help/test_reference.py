"""The committed reference pages are what the code says, and say all of it."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from netvps import exit_codes
from netvps.cli.app import COMMANDS
from netvps.cli.help.reference import PAGES, cell, commands_page, write
from netvps.cli.help.reference_settings import page
from netvps.settings import OTHER_VARIABLES, PREFIX, PROGRAMS, RunnerSettings, ServerSettings, load

DOCS = Path(__file__).parents[3] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_committed_page_is_current(name: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), (
        f"docs/{name} is not what the code says: run scripts/docs (or python -m netvps.cli.help.reference docs)"
    )


def test_every_command_has_a_heading() -> None:
    headings = re.findall(r"^#+ (.*)$", commands_page(), re.MULTILINE)
    assert set(headings) >= {*COMMANDS, "key add", "user api-key", "runner join-token"}
    assert len(headings) == len(set(headings))


def test_every_setting_variable_and_exit_code_is_listed() -> None:
    text = page()
    settings = {f"`{PREFIX}{name.upper()}`" for program in PROGRAMS for name in program.model_fields}
    public = {f"`{name}`" for name, meaning in OTHER_VARIABLES.items() if meaning}
    assert [name for name in settings | public if name not in text] == []
    codes = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    assert codes == exit_codes.MEANINGS.keys()


def test_a_secret_has_no_flag() -> None:
    assert "--database-url`" not in page()
    assert "| none | `NETVPS_DATABASE_URL` |" in page()


def test_the_example_of_a_configuration_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "netvps.toml"
    file.write_text(page().partition("```toml\n")[2].partition("```")[0])
    for name in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    server = load(ServerSettings, {}, file)
    assert (server.listen, server.ssh_port, str(server.state_dir)) == ("0.0.0.0", 22, "/srv/netvps")
    assert load(RunnerSettings, {}, file).name == "box1"


def test_only_pages_that_differ_are_written(tmp_path: Path) -> None:
    assert {file.name for file in write(tmp_path)} == PAGES.keys()
    (tmp_path / "cli.md").write_text("old")
    assert write(tmp_path) == [tmp_path / "cli.md"]


def test_a_cell_is_one_line_without_a_bare_bar() -> None:
    assert cell("table|wide,\n  or json") == "table\\|wide, or json"
