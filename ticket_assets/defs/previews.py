"""What a person wants to see of an asset in the UI: row counts per day, previews, plots."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg
import pandas as pd

PREVIEW_ROWS = 5
PREVIEW_CHARACTERS = 80


def record_each_day(
    context: dg.AssetExecutionContext,
    rows: pd.DataFrame,
    days: Iterable[date],
    asset: str,
    describe: Callable[[date, pd.DataFrame], Mapping[str, Any]] = lambda _day, _rows: {},
) -> None:
    """Give each day's materialisation its own row count and figures; a run may cover many days.

    Args:
        rows: with `received_at`; `describe` gets those of a day, none where nothing was received.
    """
    received = dict(iter(rows.groupby(rows["received_at"].dt.normalize())))
    for day in days:
        of_day = received.get(pd.Timestamp(day), rows[:0])
        context.add_asset_metadata(
            {"dagster/partition_row_count": len(of_day), **describe(day, of_day)},
            asset_key=asset,
            partition_key=day.isoformat(),
        )


def preview(frame: pd.DataFrame, columns: Sequence[str]) -> dg.MarkdownMetadataValue:
    """The newest rows of a frame as a markdown table, long texts cut."""
    newest = frame.tail(PREVIEW_ROWS).iloc[::-1]
    return dg.MetadataValue.md(
        markdown_table(columns, newest[list(columns)].itertuples(index=False))
    )


def markdown_table(header: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """Rows as a markdown table; cells are cut and cannot break out of it."""
    lines = [f"| {' | '.join(header)} |", "|" + " --- |" * len(header)]
    lines += [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return "\n".join(lines)


def counts(values: pd.Series) -> dg.MarkdownMetadataValue:
    """How often each value occurs, as a markdown table."""
    found = values.value_counts()
    return dg.MetadataValue.md(
        markdown_table((str(values.name), "tickets"), zip(found.index, found, strict=True))
    )


def picture(title: str, png: bytes) -> dg.MarkdownMetadataValue:
    """A plot that the UI shows where the metadata stands."""
    return dg.MetadataValue.md(
        f"![{title}](data:image/png;base64,{base64.b64encode(png).decode('ascii')})"
    )


def _cell(value: object) -> str:
    text = " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")
    return text if len(text) <= PREVIEW_CHARACTERS else text[: PREVIEW_CHARACTERS - 1] + "…"
