"""The verdicts of the benchmark's table."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from benchmarks.table import Line, at_least, at_most, table
from ticket_assets.cli.console import TextConsole


def test_a_figure_at_its_bound_is_met_and_one_beyond_is_not() -> None:
    assert at_least("mail", "speed", 1000.0, 1000, "mails/s").met is True
    assert at_least("mail", "speed", 999.9, 1000).met is False
    assert at_most("mail", "memory", 500.0, 500, "MB").met is True
    assert at_most("mail", "memory", 500.1, 500).met is False


@pytest.mark.parametrize("console_class", [Console, TextConsole])
def test_the_table_shows_each_figure_beside_its_peer(console_class: type[Console]) -> None:
    lines = [
        Line("job", "whole [job]", "10 s", "25 s", 2.5, "≥ 2", True),
        at_most("memory", "peak", 2600, 2500, "MB"),
    ]
    console = console_class(width=120, file=io.StringIO())

    with console.capture() as shown:
        console.print(table(lines))

    rows = [row.split("│")[1:-1] for row in shown.get().splitlines() if "│" in row]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["job", "whole [job]", "10 s", "25 s", "2.50", "≥ 2", "met"],
        ["memory", "peak", "2,600 MB", "", "", "≤ 2,500", "not met"],
    ]
