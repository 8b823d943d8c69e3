"""The table of a benchmark: each figure beside its peer and what is wanted of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class Line:
    """One figure. Ratios are above one where the product is better than its peer."""

    part: str
    figure: str
    value: str
    peer: str = ""
    ratio: float | None = None
    wanted: str = ""
    met: bool | None = None
    """Whether the figure is as wanted; None where nothing is."""


def at_least(part: str, figure: str, value: float, wanted: float, unit: str = "") -> Line:
    """A line whose figure is to reach `wanted`."""
    return Line(
        part, figure, f"{value:,.4g} {unit}".strip(), wanted=f"≥ {wanted:,.4g}", met=value >= wanted
    )


def at_most(part: str, figure: str, value: float, wanted: float, unit: str = "") -> Line:
    """A line whose figure is not to exceed `wanted`."""
    return Line(
        part, figure, f"{value:,.4g} {unit}".strip(), wanted=f"≤ {wanted:,.4g}", met=value <= wanted
    )


def table(lines: Iterable[Line]) -> Table:
    """The lines for a terminal."""
    from rich.table import Table
    from rich.text import Text

    shown = Table("part", "figure", "here", "peer", "ratio", "wanted", "")
    for line in lines:
        ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
        verdict = {True: ("met", "green"), False: ("not met", "red"), None: ("", "")}[line.met]
        # Text, since square brackets are no markup, on whatever console the table is shown.
        cells = (line.part, line.figure, line.value, line.peer, ratio, line.wanted)
        shown.add_row(*map(Text, cells), Text(*verdict))
    return shown
