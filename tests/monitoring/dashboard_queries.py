"""What Grafana's dashboards ask Prometheus."""

import json
import re
from pathlib import Path
from typing import Any

FILES = sorted((Path(__file__).parents[2] / "monitoring" / "dashboards").glob("*.json"))


def board(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def panels(path: Path) -> list[dict[str, Any]]:
    return [panel for panel in board(path)["panels"] if panel["type"] != "row"]


def queries(path: Path) -> list[str]:
    """All that the dashboard asks Prometheus, variables as Grafana fills them in at first."""
    content = board(path)
    asked = [target["expr"] for panel in panels(path) for target in panel["targets"]]
    asked += [mark["expr"] for mark in content["annotations"].get("list", []) if "expr" in mark]
    asked += [
        re.sub(r"label_values\((.*), (\w+)\)", r"count by (\2) (\1)", variable["query"])
        for variable in content["templating"]["list"]
        if variable["type"] == "query"
    ]
    for variable, value in (("__rate_interval", "1m"), ("__range", "6h")):
        asked = [query.replace(f"${variable}", value) for query in asked]
    return [re.sub(r'"\$\w+"', '".*"', query) for query in asked]


def metrics(path: Path) -> set[str]:
    """The names of the series that the dashboard asks for."""
    labels = r"\{[^}]*\}|\b(?:by|on|group_left) \([^()]*\)"
    text = " ".join(re.sub(labels, " ", query) for query in queries(path))
    return set(re.findall(r"\b(?:tickets|dagster|node|container|cadvisor)_[\w:]+", text))
