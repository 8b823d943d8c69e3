"""Renders the chart as Helm does, without a cluster."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "ticket-assets"
RELEASE, NAMESPACE = "desk", "support"
FULLNAME = f"{RELEASE}-ticket-assets"

MINIMAL: dict[str, Any] = {
    "settings": {
        "TICKETS_FILES": "s3://bucket/desk",
        "TICKETS_WAREHOUSE_DATA": "s3://bucket/desk/tables",
        "TICKETS_S3_ENDPOINT": "http://objects:7070",
        "TICKETS_S3_REGION": "eu-west-1",
        "TICKETS_S3_KEY_ID": "desk",
    },
    "secrets": {"s3Secret": "an object store's secret"},
    "postgresql": {"postgresqlPassword": "a database's password"},
}
"""The fewest values that a desk needs."""


def merged(*values: dict[str, Any]) -> dict[str, Any]:
    """Values on top of each other, as Helm merges its files: mappings by key, the rest whole."""
    result: dict[str, Any] = {}
    for layer in values:
        for key, value in layer.items():
            if isinstance(value, dict) and isinstance(result.get(key), dict):
                result[key] = merged(result[key], value)
            else:
                result[key] = copy.deepcopy(value)
    return result


def rendered(*values: dict[str, Any], upgrade: bool = False) -> list[dict[str, Any]]:
    """The manifests of the release with these values.

    Raises:
        HelmError: the values are refused.
    """
    with helm.Chart.load(CHART) as chart:
        layers = merged(*values)
        chart.validate_schema(layers)
        files = chart.render(
            layers, name=RELEASE, namespace=NAMESPACE, is_install=not upgrade, is_upgrade=upgrade
        )
    return [
        manifest
        for path, text in files.items()
        if path.endswith(".yaml")
        for manifest in yaml.load_all(text, yaml.CSafeLoader)
        if manifest
    ]


def one(manifests: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """The manifest of this kind whose name is the release's and this."""
    (found,) = (
        manifest
        for manifest in manifests
        if manifest["kind"] == kind and manifest["metadata"]["name"] == f"{FULLNAME}-{name}"
    )
    return found


def instance_files(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """What dagster.yaml and workspace.yaml hold."""
    data = one(manifests, "ConfigMap", "instance")["data"]
    return {name: yaml.safe_load(text) for name, text in data.items()}
