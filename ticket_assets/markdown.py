"""Markdown that Dagster's UI shows with an asset: tables, counts, previews, plots."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence

import pandas as pd

from ticket_assets.text.characters import visible

PREVIEW_ROWS = 5
PREVIEW_CHARACTERS = 80

# Signs of Markdown and HTML, wherever they stand; underscores that could begin or end an emphasis,
# of which those within a name, as in raw_tickets, are none; what makes a link of an address.
_SIGNS = re.compile(
    r"[\\`*\[\]<>|~&$]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|@|(?<=\bwww)\.", re.IGNORECASE
)


class Markdown(str):
    """A text that is shown as Markdown."""

    __slots__ = ()


def plain(text: str) -> str:
    """`text` such that Markdown shows it as it is, on one line."""
    line = visible(" ".join(text.split()))
    return _SIGNS.sub(r"\\\g<0>", line)


def bold(text: str) -> Markdown:
    """`text` in bold, whatever it holds."""
    return Markdown(f"**{plain(text)}**")


def preview(frame: pd.DataFrame, columns: Sequence[str]) -> Markdown:
    """The newest rows of a frame as a markdown table, long texts cut."""
    newest = frame.tail(PREVIEW_ROWS).iloc[::-1]
    return markdown_table(columns, newest[list(columns)].itertuples(index=False))


def markdown_table(
    header: Sequence[str],
    rows: Iterable[Iterable[object]],
    *,
    figures: bool = False,
    characters: int = PREVIEW_CHARACTERS,
) -> Markdown:
    """Rows as a markdown table; cells are cut and cannot break out of it.

    Args:
        figures: align all columns but the first to the right.
        characters: the most that a cell may have. A cell that is `Markdown` stays as it is.
    """
    rules = [" --- |", *[" ---: |" if figures else " --- |"] * (len(header) - 1)]
    lines = [f"| {' | '.join(map(_cell, header))} |", "|" + "".join(rules)]
    lines += [f"| {' | '.join(_cell(value, characters) for value in row)} |" for row in rows]
    return Markdown("\n".join(lines))


def counts(values: pd.Series) -> Markdown:
    """How often each value occurs, as a markdown table."""
    return markdown_table((str(values.name), "tickets"), values.value_counts().items())


def picture(title: str, png: bytes) -> Markdown:
    """A plot that the UI shows where the metadata stands."""
    return Markdown(
        f"![{plain(title)}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})"
    )


def _cell(value: object, characters: int = PREVIEW_CHARACTERS) -> str:
    if isinstance(value, Markdown):
        return value
    text = " ".join(str(value).split())
    return plain(text if len(text) <= characters else text[: characters - 1] + "…")
