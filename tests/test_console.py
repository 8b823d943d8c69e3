"""What is printed is text, wherever it comes from."""

import io
import json

import pytest
from hypothesis import given
from rich.table import Table

from tests.hostile_names import NAMES, OBEYED, names
from ticket_assets.cli import console
from ticket_assets.text.characters import visible


def printed(print_it, *, is_terminal=False):
    """What a console writes to its file."""
    written = io.StringIO()
    print_it(
        console.TextConsole(
            file=written, width=40_000, force_terminal=is_terminal, color_system=None
        )
    )
    return written.getvalue()


@given(names)
def test_a_line_shows_a_name_as_it_is_and_obeys_nothing_of_it(name):
    line = printed(lambda output: output.print(f"Queue {name}", soft_wrap=True))

    assert line == f"Queue {visible(name)}\n"
    assert not OBEYED.intersection(line[:-1])


@given(names)
def test_a_styled_line_and_a_cell_do_the_same(name):
    def show(output):
        table = Table("queue", box=None)
        table.add_row(name)
        output.print(console.styled(("review", "yellow"), f": {name}"), soft_wrap=True)
        output.print(table)

    styled, _, cell = printed(show).splitlines()

    assert styled == f"review: {visible(name)}"
    assert cell.split() == visible(name).split()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_terminal_gets_no_character_that_it_would_obey(name, monkeypatch):
    def show(output):
        monkeypatch.setattr(console, "output", output)
        console.print_markdown(f"# {name}\n\n| queue |\n|---|\n| {name} |\n\n{name}")

    shown = printed(show, is_terminal=True)

    assert not OBEYED.intersection(shown) - {"\n"}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("say", [console.print_error, console.print_warning])
def test_an_error_and_a_note_are_one_line(name, say, capsys, monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(console, "messages", console.TextConsole(file=written))

    say(f"Cannot read {name}.")

    (line,) = written.getvalue().splitlines()
    assert line.startswith(("Error: Cannot read ", "Note: Cannot read "))
    assert not OBEYED.intersection(line)


@given(names)
def test_json_says_the_same_and_holds_nothing_that_is_obeyed(name):
    text = console.json_text({name: [name]})

    assert json.loads(text) == {name: [name]}
    assert not OBEYED.intersection(text) - {"\n"}


def test_json_of_other_scripts_stays_readable():
    assert "Réseau" in console.json_text({"category": "Réseau"})
