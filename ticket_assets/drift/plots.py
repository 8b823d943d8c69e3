"""Drift figures for people: small charts and a markdown table."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pandas as pd

from ticket_assets.drift.report import DriftReport
from ticket_assets.markdown import bold, markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUIET, DRIFTED = "#4c78a8", "#d62728"


def drift_png(metrics: pd.DataFrame) -> bytes:
    """Bars of distance / threshold per metric of one day; beyond the line at 1 is drift."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 0.7 + 0.25 * len(metrics)), layout="constrained")
    axes = figure.subplots()
    ordered = metrics[::-1]
    colours = ordered["drifted"].map({True: DRIFTED, False: QUIET})
    axes.barh(_names(ordered), ordered["distance"] / ordered["threshold"], color=colours)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("distance / threshold")
    return _png(figure)


def drift_history_png(metrics: pd.DataFrame) -> bytes:
    """Distance / threshold per metric over the days of `metrics`; drifted days have a dot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    axes = figure.subplots()
    metrics = metrics.assign(name=_names(metrics)).sort_values("received_at")
    for metric, days in metrics.groupby("name", sort=False):
        ratio = days["distance"] / days["threshold"]
        (line,) = axes.plot(days["received_at"], ratio, linewidth=1, label=metric)
        drifted = days["drifted"]
        axes.scatter(days["received_at"][drifted], ratio[drifted], s=16, color=line.get_color())
    axes.axhline(1, color="black", linewidth=1)
    axes.set_ylabel("distance / threshold")
    figure.autofmt_xdate()
    if len(metrics):
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return _png(figure)


def drift_markdown(report: DriftReport) -> str:
    """A table of the report's metrics, drifted ones in bold, or a line for a day without mail."""
    if report.metrics.empty:
        return f"No tickets on {report.day}: nothing to compare."
    rows = (
        (
            bold(name) if row["drifted"] else name,
            f"{row['distance']:.3f}",
            f"{row['threshold']:.3f}",
            "yes" if row["drifted"] else "no",
            row["current_rows"],
        )
        for name, row in zip(_names(report.metrics), report.metrics.to_dict("records"), strict=True)
    )
    header = ("metric", "distance", "threshold", "drifted", "tickets")
    table = markdown_table(header, rows, figures=True)
    return f"{table}\n\n{report.note}" if report.note else table


def _names(metrics: pd.DataFrame) -> pd.Series:
    """The metric of each row; of those of the week beside a day's own it is said."""
    own = metrics.groupby("received_at")["window_days"].transform("min")
    names = metrics["metric"].astype(str)
    return names.where(metrics["window_days"] == own, names + " of the week")


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
