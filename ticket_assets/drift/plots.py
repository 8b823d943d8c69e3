"""Drift figures for people: small charts and a markdown table."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pandas as pd

from ticket_assets.drift.report import DriftReport
from ticket_assets.markdown import markdown_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUIET, DRIFTED = "#4c78a8", "#d62728"


def drift_png(metrics: pd.DataFrame) -> bytes:
    """Bars of distance / threshold per metric of one day; beyond the line at 1 is drift."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 2.5), layout="constrained")
    axes = figure.subplots()
    ordered = metrics[::-1]
    colours = ordered["drifted"].map({True: DRIFTED, False: QUIET})
    axes.barh(ordered["metric"], ordered["distance"] / ordered["threshold"], color=colours)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("distance / threshold")
    return _png(figure)


def drift_history_png(metrics: pd.DataFrame) -> bytes:
    """Distance / threshold per metric over the days of `metrics`; drifted days have a dot."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.5), layout="constrained")
    axes = figure.subplots()
    for metric, days in metrics.sort_values("received_at").groupby("metric", sort=False):
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
            f"**{row['metric']}**" if row["drifted"] else row["metric"],
            f"{row['distance']:.3f}",
            f"{row['threshold']:.3f}",
            "yes" if row["drifted"] else "no",
            row["current_rows"],
        )
        for row in report.metrics.to_dict("records")
    )
    header = ("metric", "distance", "threshold", "drifted", "tickets")
    return markdown_table(header, rows, figures=True)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()
