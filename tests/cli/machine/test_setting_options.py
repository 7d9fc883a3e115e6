"""Options that are settings: their help, their completion, and the check of their values."""

from __future__ import annotations

import click
import pytest

from netvps.cli.machine.setting_options import SettingType, setting_options
from netvps.settings import RunnerSettings, ServerSettings


def test_no_secret_has_a_flag_and_no_flag_is_there_twice() -> None:
    flags = [option.opts[0] for option in setting_options([ServerSettings, RunnerSettings], {"server"})]
    assert len(flags) == len(set(flags))
    assert "--database-url-file" in flags
    assert not {"--database-url", "--join-token", "--server"} & set(flags)


def test_the_help_of_a_setting_is_a_sentence_with_its_default() -> None:
    options = {option.name: option for option in setting_options([RunnerSettings], {})}
    shown = {name: option.help for name, option in options.items() if isinstance(option, click.Option)}
    assert shown["overlay"] == ("Join the overlay network if this machine supports it: true or false (default true).")
    assert shown["underlay"] is not None
    assert "default )" not in shown["underlay"]


@pytest.mark.parametrize(
    ("name", "metavar", "words"),
    [
        ("metrics_port", "PORT", []),
        ("overlay_fast_path", "auto|off", ["auto", "off"]),
        ("no_sessions", "true|false", ["true", "false"]),
        ("state_dir", "DIR", [""]),
    ],
)
def test_a_value_is_named_and_completed_by_its_type(name: str, metavar: str, words: list[str]) -> None:
    kind = SettingType(RunnerSettings, name)
    context = click.Context(click.Command("x"))
    assert kind.metavar == metavar
    assert [item.value for item in kind.shell_complete(context, click.Option(["-x"]), "")] == words


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ([], None),
        (["--no-sessions"], "true"),
        (["--no-sessions", "--name", "a"], "true"),
        (["--no-sessions=false"], "false"),
    ],
)
def test_a_switch_needs_no_value(typed: list[str], value: str | None) -> None:
    command = click.Command("x", params=setting_options([RunnerSettings], {}))
    assert command.make_context("x", typed).params["no_sessions"] == value


def test_a_number_has_a_unit_in_the_help() -> None:
    assert SettingType(ServerSettings, "drain").metavar == "SECONDS"


def test_a_value_passes_as_it_was_typed() -> None:
    assert SettingType(ServerSettings, "ssh_port").convert("22", None, None) == "22"
    with pytest.raises(click.BadParameter, match="'x' is wrong: give a whole number"):
        SettingType(ServerSettings, "ssh_port").convert("x", None, None)
