"""A day's figures as Evidently's UI shows them: a snapshot for its own page, and the dashboard.

Both are made of `drift.json` alone, by the Evidently that is installed: nothing is kept in its own
format, so that no upgrade of it makes a day unreadable.

Imports Evidently (seconds): import it where the UI is served.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, time
from typing import Any

from evidently.core.metric_types import (
    ByLabelValue,
    MetricConfig,
    SingleValue,
    by_label_location,
)
from evidently.core.serialization import ReportModel, SnapshotModel
from evidently.legacy.model.widget import BaseWidgetInfo, WidgetType
from evidently.legacy.renderers.html_widgets import CounterData, WidgetSize, counter, table_data
from evidently.sdk.models import (
    DashboardModel,
    DashboardPanelPlot,
    DashboardTabModel,
    PanelMetric,
)
from evidently.sdk.panels import bar_plot_panel, counter_panel, line_plot_panel

from ticket_assets.drift.report import PRECISION, as_page_text
from ticket_assets.drift.store import Row, drift_ratios, rows_by_window

FIGURES = "evidently:metric_v2:Figures"
"""The type of all series: a group of figures, each with its label."""
OF_THE_DAY, OF_THE_WEEK = "drift of the day", "drift of the week"
DRIFTED = "drifted metrics"
LATEST = "latest day with mail"
_QUIET, _DRIFTED, _REFERENCE = "#4c78a8", "#d62728", "#bab0ac"


def day_snapshot(document: Mapping[str, Any]) -> SnapshotModel:
    """The snapshot of a day's `drift.json`; one of an earlier release has fewer figures.

    Raises:
        AttributeError, KeyError, TypeError, ValueError: it is no drift report.
    """
    day = datetime.fromisoformat(document["day"])
    windows = dict(zip((OF_THE_DAY, OF_THE_WEEK), rows_by_window(document), strict=True))
    rows = [row for window in windows.values() for row in window]
    figures = document.get("figures", {})
    tickets = figures.get("tickets", {}).get("tickets", 0)
    drifted = {row["metric"] for row in rows if row["drifted"]}
    groups = {name: drift_ratios(window) for name, window in windows.items()}
    ratios = [ratio for group in groups.values() for ratio in group.values()]
    widgets = [
        _numbers({"tickets of the day": tickets, "metrics that drifted": len(drifted)}),
        *(_bars(name, ratios) for name, ratios in groups.items() if ratios),
        *(_table(name, window) for name, window in windows.items() if window),
        *(_beside(*column) for column in document.get("distributions", {}).items()),
    ]
    if rows:
        groups[DRIFTED] = {"share": len(drifted) / len({row["metric"] for row in rows})}
        groups[LATEST] = {
            "tickets": tickets,
            "largest distance / threshold": max(ratios, default=0),
        }
    groups |= figures
    groups["estimated precision"] = {
        name.removeprefix("estimated_").replace("_", " "): row[name]
        for row in windows[OF_THE_DAY]
        for name in PRECISION
        if name in row
    }
    return SnapshotModel(
        report=ReportModel(items=[]),
        name=document["day"],
        # Without a time zone, which a browser takes for its own: a day is the same day everywhere.
        timestamp=datetime.combine(day, time(12)),
        metadata={"model": document["model_version"], "note": document.get("note") or "none"},
        tags=["drifted"] if drifted else [],
        metric_results={
            name: _result(name, figures) for name, figures in groups.items() if figures
        },
        top_level_metrics=[name for name, figures in groups.items() if figures],
        widgets=widgets,
        tests_widgets=[],
    )


def _result(group: str, figures: Mapping[str, float]) -> ByLabelValue:
    config = MetricConfig(metric_id=group, params={"type": FIGURES, "group": group})
    values = {
        label: SingleValue(
            value=figure,
            display_name=f"{group}: {label}",
            metric_value_location=by_label_location(config, label),
        )
        for label, figure in figures.items()
    }
    result = ByLabelValue(values=values, display_name=group)
    result.set_metric_location(config)
    return result


def _table(title: str, rows: list[Row]) -> BaseWidgetInfo:
    header = ["metric", "distance", "drifts from", "drifted", "tickets", "days"]
    cells = [
        (
            *(row["metric"], f"{row['distance']:.3f}", f"{row['threshold']:.3f}"),
            *("yes" if row["drifted"] else "no", row["current_rows"], row["window_days"]),
        )
        for row in rows
    ]
    return table_data(column_names=header, data=cells, title=title, size=WidgetSize.HALF)


def _numbers(numbers: Mapping[str, float]) -> BaseWidgetInfo:
    counters = [CounterData(label, f"{number:,.0f}") for label, number in numbers.items()]
    return counter(title="", size=WidgetSize.FULL, counters=counters)


def _bars(title: str, ratios: Mapping[str, float]) -> BaseWidgetInfo:
    """Distance / threshold of each metric; those beyond 1 are red."""
    colours = [_DRIFTED if ratio >= 1 else _QUIET for ratio in ratios.values()]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": list(ratios.values()),
        "y": list(ratios),
        "marker": {"color": colours},
    }
    line = {"type": "line", "x0": 1, "x1": 1, "yref": "paper", "y0": 0, "y1": 1}
    layout = {"shapes": [line], "margin": {"l": 160}, "yaxis": {"autorange": "reversed"}}
    return _graph(title, [bars], layout, WidgetSize.FULL)


def _beside(column: str, spread: Mapping[str, Any]) -> BaseWidgetInfo:
    """The shares of a column's values on both sides."""
    number = float if spread["numerical"] else as_page_text
    bars = [
        {
            "type": "bar",
            "name": side,
            "x": [number(label) for label in spread[side]],
            "y": list(spread[side].values()),
            "marker": {"color": colour},
        }
        for side, colour in (("reference", _REFERENCE), ("current", _QUIET))
    ]
    layout = {"barmode": "group", "yaxis": {"tickformat": ".0%"}}
    return _graph(f"{column} beside the training reference", bars, layout, WidgetSize.HALF)


def _graph(
    title: str, data: list[dict[str, Any]], layout: dict[str, Any], size: WidgetSize
) -> BaseWidgetInfo:
    # A dictionary: plotly's own classes take longer to make than all the rest of a snapshot.
    return BaseWidgetInfo(
        title=title,
        type=WidgetType.BIG_GRAPH.value,
        size=size.value,
        params={"data": data, "layout": layout},
    )


def dashboard() -> DashboardModel:
    """The panels over all days."""
    panels = [
        counter_panel("The latest day with mail", [_figure(LATEST)]),
        _lines("Drift of the day: distance / threshold, from 1 on it is drift", OF_THE_DAY),
        _lines("Drift of the week: distance / threshold, from 1 on it is drift", OF_THE_WEEK),
        _lines("Share of the metrics that drifted", DRIFTED),
        bar_plot_panel("Tickets", [_figure("tickets")], size="half"),
        bar_plot_panel("Languages", [_figure("languages")], size="half", stacked=True),
        _lines("Characters of a text", "characters"),
        _lines("Data quality: shares of the day's tickets", "quality"),
        _lines("Sorting: share decided without a person, mean confidence", "sorting"),
        _lines("Estimated precision of automatic tickets", "estimated precision"),
    ]
    tab = DashboardTabModel(title="Drift", panels=[panel.id for panel in panels])
    return DashboardModel(tabs=[tab], panels=panels)


def _lines(title: str, group: str) -> DashboardPanelPlot:
    return line_plot_panel(title, [_figure(group)], size="half")


def _figure(group: str) -> PanelMetric:
    return PanelMetric(metric=FIGURES, metric_labels={"group": group}, legend="{{label}}")
