"""Prometheus and Alertmanager take their files as docker-compose.yml mounts them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.compose.compose_file import configuration
from tests.services.prometheus import checked


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found = configuration("monitoring")["services"]
    assert isinstance(found, dict)
    return found


def mounted(service: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Copies of what is mounted into the service from this machine, by their place in it."""
    places: dict[str, Path] = {}
    for volume in service["volumes"]:
        if volume["type"] != "bind":
            continue
        place = folder / volume["target"].lstrip("/")
        if Path(volume["source"]).is_dir():
            shutil.copytree(volume["source"], place, dirs_exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(volume["source"], place)
        places[volume["target"]] = place
    return places


def option(service: dict[str, Any], name: str) -> str:
    (value,) = (
        word.partition("=")[2] for word in service["command"] if word.startswith(f"{name}=")
    )
    return str(value)


def test_promtool_takes_prometheus_files(
    services: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    mounted(services["prometheus"], tmp_path)
    path = tmp_path / option(services["prometheus"], "--config.file").lstrip("/")

    said = checked("promtool", "check", "config", path)

    assert "3 rule files found" in said
    targets = yaml.safe_load(path.with_name("targets.yml").read_text())
    addresses = {entry["labels"]["job"]: target for entry in targets for target in entry["targets"]}
    assert addresses.keys() == {"tickets", "node", "cadvisor", "prometheus", "alertmanager"}
    for job, address in addresses.items():
        host = address.partition(":")[0]
        if job != "prometheus":
            assert "watching" in services[host]["networks"], job


def test_amtool_takes_alertmanagers_file(
    services: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    places = mounted(services["alertmanager"], tmp_path)

    said = checked(
        "amtool", "check-config", places[option(services["alertmanager"], "--config.file")]
    )

    assert "SUCCESS" in said


def test_grafana_finds_its_dashboards_and_prometheus(
    services: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    places = mounted(services["grafana"], tmp_path)
    environment = services["grafana"]["environment"]

    assert list(places[environment["DASHBOARDS"]].glob("*.json"))
    assert list(places["/etc/grafana/provisioning"].glob("*/*.yml"))
    host = environment["PROMETHEUS_URL"].removeprefix("http://").partition(":")[0]
    assert services["grafana"]["networks"].keys() == services[host]["networks"].keys()
