"""Every verb explains itself, stands in the README with an example, and answers a wrong call in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fnbench.cli import main

README = (Path(__file__).resolve().parents[2] / "README.md").read_text()


def verbs(group: click.Group = main, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group) and not command.invoke_without_command:
            yield from verbs(command, (*path, name))
        else:
            yield (*path, name), command
            if isinstance(command, click.Group):
                yield from verbs(command, (*path, name))


VERBS = [pytest.param(path, command, id="-".join(path)) for path, command in verbs()]


@pytest.mark.parametrize(("path", "command"), VERBS)
def test_help_says_what_it_does_with_an_example(path, command):
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert command.help
    assert f"fnbench {' '.join(path)}" in command.help, "the help shows no example"
    for parameter in command.params:
        if isinstance(parameter, click.Option) and not parameter.hidden:
            assert parameter.help, f"{parameter.name} has no help"


@pytest.mark.parametrize(("path", "command"), VERBS)
def test_the_readme_shows_it(path, command):
    assert f"fnbench {' '.join(path)}" in README


@pytest.mark.parametrize(("path", "command"), VERBS)
def test_an_unknown_option_is_one_line_and_exit_code_2(path, command):
    result = CliRunner().invoke(main, [*path, "--no-such-option"])
    assert result.exit_code == 2
    assert "No such option" in result.output
    assert result.output.count("\n") == 1


def test_every_example_in_the_readme_names_a_verb():
    known = {" ".join(path) for path, _ in verbs()}
    for line in re.findall(r"^(?:\$ )?fnbench (.+)$", README, flags=re.MULTILINE):
        words = line.split()
        if words[0].startswith("-"):
            continue
        assert words[0] in known or " ".join(words[:2]) in known, f"the README calls 'fnbench {line}'"
