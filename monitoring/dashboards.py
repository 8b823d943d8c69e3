"""Makes Grafana's dashboards, the JSON files of `dashboards/`, of what `panels.yml` says.

`make dashboards` runs it. The files are committed, so that Grafana needs nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import yaml
from grafana_foundation_sdk.builders import (
    barchart,
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    DataSourceRef,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    DataTransformerConfig,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

HERE = Path(__file__).parent
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
WORDS = {
    # Not vector(0), which would also show a reassuring 0 where the exporter is gone.
    "or NOTHING": "or on () 0 * sum(tickets_exporter_info{DESK})",
    "DESK": 'instance=~"$instance"',
    "HOST": 'instance=~"$host"',
    "CONTAINER": 'instance=~"$cadvisor", image!=""',
}
"""What stands for the words of `panels.yml` in queries."""

PROMOTIONS = (
    "1000 * (tickets_model_info{DESK} * on (instance) group_left ()"
    " tickets_model_promoted_timestamp_seconds{DESK})"
)
"""The champion's version, at the millisecond of its promotion."""

Panel = barchart.Panel | stat.Panel | table.Panel | timeseries.Panel
Content = Mapping[str, Any]


def spelt_out(expr: str) -> str:
    """The query in PromQL."""
    for word, meaning in WORDS.items():
        expr = expr.replace(word, meaning)
    return expr


def query(expr: str, legend: str = "", ref: str = "A") -> prometheus.Dataquery:
    """The series of a query over time."""
    described = prometheus.Dataquery().expr(spelt_out(expr)).legend_format(legend)
    return described.range().ref_id(ref).datasource(SOURCE)


def present(expr: str, ref: str = "A") -> prometheus.Dataquery:
    """What a query gives at the end of the time shown: a row for each set of labels."""
    return query(expr, ref=ref).instant().format(PromQueryFormat.TABLE)


def thresholds(colors: Mapping[float | str, str]) -> dashboard.ThresholdsConfig:
    """Colours from these values upwards; `below` them green, or plain text if there are none."""
    steps = [
        Threshold(None, colors.get("below", "green" if colors else "text")),
        *(Threshold(at, color) for at, color in colors.items() if isinstance(at, (int, float))),
    ]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)


def legend() -> common.VizLegendOptions:
    """A list below the panel."""
    shown = common.VizLegendOptions().show_legend(True).display_mode(LegendDisplayMode.LIST)
    return shown.placement(LegendPlacement.BOTTOM)


def number(content: Content) -> stat.Panel:
    """One number, or one for each series where the content has a `legend`."""
    colors = content.get("colors", {})
    return (
        stat.Panel()
        .span(4)
        .height(4)
        .with_target(query(content["query"], content.get("legend", "")))
        .color_mode(BigValueColorMode.VALUE)
        .thresholds(thresholds(colors))
    )


def lines(content: Content) -> timeseries.Panel:
    """`series` over time, named by their legends; `limits` and `limit` are dashed lines."""
    limits, stacked = content.get("limits", {}), content.get("stacked", False)
    panel = (
        timeseries.Panel()
        .span(12)
        .height(8)
        .axis_soft_min(0)
        .fill_opacity(20 if stacked else 5)
        .show_points(VisibilityMode.NEVER)
        .tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI))
        .legend(legend())
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    for ref, (name, expr) in zip(
        ascii_uppercase, {**content["series"], **limits}.items(), strict=False
    ):
        panel.with_target(query(expr, name, ref))
    for name in limits:
        panel.override_by_name(
            name,
            [
                DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "red"}),
                DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 8]}),
                DynamicConfigValue("custom.fillOpacity", 0),
            ],
        )
    if "limit" in content:
        dashed = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        panel.thresholds(thresholds({content["limit"]: "red"})).thresholds_style(dashed)
    return panel


def days(content: Content) -> barchart.Panel:
    """Bars for each day of the query, by its label `by`: shares side by side, counts stacked."""
    is_share = content.get("unit") == "percentunit"
    matrix = {"columnField": content["by"], "rowField": "day", "valueField": "Value"}
    return (
        barchart.Panel()
        .span(12)
        .height(8)
        .min(0)
        .with_target(present(content["query"]))
        .with_transformation(
            DataTransformerConfig("sortBy", options={"fields": {}, "sort": [{"field": "day"}]})
        )
        .with_transformation(DataTransformerConfig("groupingToMatrix", options=matrix))
        .stacking(StackingMode.NONE if is_share else StackingMode.NORMAL)
        .show_value(VisibilityMode.NEVER)
        .x_tick_label_rotation(-45)
        .legend(legend())
    )


def rows(content: Content) -> table.Panel:
    """A row for each set of `labels`, a column for each query; one without title is only joined.

    `links` has the addresses to which the cells of a column lead.
    """
    columns: Sequence[Content] = content["columns"]
    panel = table.Panel().span(24).height(9).filterable(True)
    names = {}
    for ref, column in zip(ascii_uppercase, columns, strict=False):
        panel.with_target(present(column["query"], ref))
        names["Value" if len(columns) == 1 else f"Value #{ref}"] = column.get("title")
        properties = [DynamicConfigValue("unit", column.get("unit", "short"))]
        if colors := column.get("colors"):
            properties.append(DynamicConfigValue("thresholds", thresholds(colors).build()))
            properties.append(DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
        if "title" in column:
            panel.override_by_name(column["title"], properties)
    for title, address in content.get("links", {}).items():
        link = {"title": "In Dagster's UI", "url": address, "targetBlank": True}
        panel.override_by_name(title, [DynamicConfigValue("links", [link])])
    if "sort_by" in content:
        by = common.TableSortByFieldState().display_name(content["sort_by"]).desc(True)
        panel.sort_by([by])
    titles = {**content["labels"], **{name: title for name, title in names.items() if title}}
    order = {
        "excludeByName": {"Time": True, **{name: True for name in names if name not in titles}},
        "indexByName": {name: place for place, name in enumerate(titles)},
        "renameByName": titles,
    }
    return panel.with_transformation(
        DataTransformerConfig("merge", options={})
    ).with_transformation(DataTransformerConfig("organize", options=order))


KINDS: dict[str, Callable[[Content], Panel]] = {
    "number": number,
    "lines": lines,
    "days": days,
    "rows": rows,
}


def panel(content: Content, place: int) -> Panel:
    """The panel of an entry; its number in the dashboard is its place."""
    kind = next(iter(content))
    made = KINDS[kind](content).id(place).title(content[kind]).description(content["text"])
    made.unit(content.get("unit", "short")).datasource(SOURCE)
    if "width" in content:
        made.span(content["width"])
    if "height" in content:
        made.height(content["height"])
    return made


def choice(name: str, label: str, values: str) -> dashboard.QueryVariable:
    """A variable that takes one or several values, all of them at first."""
    chosen = dashboard.QueryVariable(name).label(label).datasource(SOURCE).query(values)
    chosen.refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.NATURAL_ASC)
    return chosen.multi(True).include_all(True).all_value(".*")


def of_desks(board: dashboard.Dashboard) -> None:
    """What a dashboard of desks has: their choice, promotions as marks, ways to their UIs."""
    board.with_variable(choice("instance", "Desk", "label_values(tickets_exporter_info, instance)"))
    for name, label, address, link in (
        ("dagster", "Dagster's UI", "http://127.0.0.1:3000", "/runs"),
        ("reports", "Drift reports", "http://127.0.0.1:3001", "/"),
        ("evidently", "Evidently", "http://127.0.0.1:3002", "/"),
    ):
        board.with_variable(dashboard.TextBoxVariable(name).label(label).default_value(address))
        way = dashboard.DashboardLink(label).type(DashboardLinkType.LINK).icon("external link")
        board.link(way.url(f"${{{name}:raw}}{link}").target_blank(True))
    board.annotation(
        dashboard.AnnotationQuery()
        .name("Promotions")
        .datasource(SOURCE)
        .enable(True)
        .icon_color("purple")
        .expr(spelt_out(PROMOTIONS))
        .use_value_for_time(True)
        .title_format("{{version}} became the champion")
        .text_format("{{instance}}, {{encoder}}")
    )


def built(name: str, content: Content) -> dashboard.Dashboard:
    """The dashboard of an entry of `panels.yml`."""
    others = dashboard.DashboardLink("Dashboards").type(DashboardLinkType.DASHBOARDS)
    board = (
        dashboard.Dashboard(content["title"])
        .uid(f"tickets-{name}")
        .description(content["description"])
        .tags(["ticket-assets"])
        .time(content["since"], "now")
        .refresh("30s")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .link(others.tags(["ticket-assets"]).as_dropdown(True).keep_time(True).include_vars(True))
    )
    if "host" not in content.get("variables", {}):
        of_desks(board)
    for variable, values in content.get("variables", {}).items():
        board.with_variable(choice(variable, variable.capitalize(), values))
    place = 0
    for title, panels in content["rows"].items():
        board.with_row(dashboard.Row(title).id(place := place + 1))
        for entry in panels:
            board.with_panel(panel(entry, place := place + 1))
    return board


class Encoder(JSONEncoder):
    """The SDK's, but links and marks stay in sight: it puts all of them into a menu."""

    def default(self, o: object) -> Any:
        """What JSON has for an object of the SDK."""
        made = super().default(o)
        if isinstance(made, dict) and made.get("placement") == "inControlsMenu":
            del made["placement"]
        return made


def as_json(board: Dashboard) -> str:
    """The text of a dashboard's file."""
    return json.dumps(board, cls=Encoder, indent=1) + "\n"


def dashboards() -> dict[str, str]:
    """The text of each dashboard's file, by the name of the file."""
    contents = yaml.safe_load((HERE / "panels.yml").read_text())
    return {
        f"{name}.json": as_json(built(name, content).build()) for name, content in contents.items()
    }


if __name__ == "__main__":
    for name, text in dashboards().items():
        (HERE / "dashboards" / name).write_text(text)
