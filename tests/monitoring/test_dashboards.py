"""Grafana's dashboards: made by the script, valid, and asking only for what is served."""

import enum
import json
import re
import typing
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.dashboards import as_json, dashboards
from tests.monitoring.dashboard_queries import FILES, board, metrics, panels

MONITORING = Path(__file__).parents[2] / "monitoring"
CADVISOR = {
    "cadvisor_version_info",
    "container_cpu_cfs_periods_total",
    "container_cpu_cfs_throttled_periods_total",
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
    "container_network_receive_bytes_total",
    "container_network_transmit_bytes_total",
    "container_oom_events_total",
    "container_spec_memory_limit_bytes",
    "container_start_time_seconds",
}
"""Of its documentation, docs/storage/prometheus.md: Debian has no package of it to ask."""

register_default_plugins()  # so that the models know what each kind of panel and query may say


def fits(value: Any, kind: Any) -> bool:
    """Whether a value, not looking into it, is of a type of the SDK's models."""
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        return value in typing.get_args(kind)
    if origin is not None:
        return isinstance(value, origin)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return value in [member.value for member in kind]
    if kind is float:
        return type(value) in (int, float)
    if kind in (bool, int):
        return type(value) is kind
    return isinstance(value, kind)


def misfits(value: Any, kind: Any, place: str) -> list[str]:
    """Where a value of the SDK's models is not of the type that Grafana's schema gives it."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Union:
        choices = [misfits(value, kind, place) for kind in arguments if fits(value, kind)]
        return min(choices, key=len, default=[place])
    if isinstance(value, dict) and hasattr(kind, "from_json"):
        value = kind.from_json(value)  # the SDK leaves transformations as they are
    if not fits(value, kind):
        return [place]
    parts: dict[Any, tuple[Any, Any]] = {}
    if origin in (list, dict):
        items = value.items() if origin is dict else enumerate(value)
        parts = {key: (item, arguments[-1]) for key, item in items}
    elif hasattr(value, "to_json"):
        hints = typing.get_type_hints(type(value))
        parts = {name: (getattr(value, name), hint) for name, hint in hints.items()}
    return [
        fault
        for key, (part, hint) in parts.items()
        for fault in misfits(part, hint, f"{place}.{key}")
    ]


def faults(content: dict[str, Any]) -> list[str]:
    """Where a dashboard says what the schema of Grafana does not know, or not like this."""
    model = Dashboard.from_json(content)
    if json.loads(as_json(model)) != content:
        return ["a field that the schema does not know"]
    return misfits(model, Dashboard, "dashboard")


def test_there_are_four_dashboards() -> None:
    names = [path.stem for path in FILES]
    assert names == ["desk", "hosts-and-containers", "model-and-drift", "platform"]


def test_the_committed_files_are_what_the_script_makes() -> None:
    assert {path.name: path.read_text() for path in FILES} == dashboards()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_dashboard_is_one_of_grafanas_schema(path: Path) -> None:
    assert faults(board(path)) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"refesh": "5s"}, "a field that the schema does not know"),
        ({"refresh": 5}, "dashboard.refresh"),
        ({"graphTooltip": 7}, "dashboard.graph_tooltip"),
    ],
)
def test_what_is_not_of_the_schema_is_seen(change: dict[str, Any], fault: str) -> None:
    assert faults(board(FILES[0]) | change) == [fault]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_panel_has_its_own_number_and_says_what_it_shows(path: Path) -> None:
    numbers = [panel["id"] for panel in board(path)["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in panels(path):
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
    titles = [panel["title"] for panel in panels(path)]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_no_panel_lies_on_another(path: Path) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in board(path)["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24, panel["title"]
        taken |= cells


def test_each_dashboard_is_found_under_an_address_of_its_own() -> None:
    uids = [board(path)["uid"] for path in FILES]
    assert uids == [f"tickets-{path.stem}" for path in FILES]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_variable_of_a_query_or_link_is_there(path: Path) -> None:
    content = board(path)
    variables = {variable["name"] for variable in content["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", path.read_text())) - {
        "__rate_interval",
        "__range",
        "__data",
    }
    assert used == variables


def test_every_threshold_that_is_drawn_is_one_of_the_file() -> None:
    rules = yaml.safe_load((MONITORING / "thresholds.yml").read_text())["groups"]
    recorded = {rule["record"] for group in rules for rule in group["rules"]}
    drawn = {
        name for path in FILES for name in metrics(path) if name.startswith("tickets_threshold:")
    }
    assert drawn
    assert drawn <= recorded


def test_what_is_asked_of_cadvisor_is_in_its_documentation() -> None:
    asked = {name for path in FILES for name in metrics(path)}
    assert {name for name in asked if name.startswith(("container_", "cadvisor_"))} == CADVISOR


def provisioned(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(
        (MONITORING / "grafana" / "provisioning" / name).read_text()
    )
    return content


def test_grafana_is_given_prometheus_and_the_folder_of_the_dashboards() -> None:
    [source] = provisioned("datasources/prometheus.yml")["datasources"]
    assert (source["type"], source["isDefault"]) == ("prometheus", True)
    scraped = yaml.safe_load((MONITORING / "prometheus.yml").read_text())["global"]
    assert source["jsonData"]["timeInterval"] == scraped["scrape_interval"]
    [provider] = provisioned("dashboards/tickets.yml")["providers"]
    assert (provider["type"], provider["allowUiUpdates"]) == ("file", False)
