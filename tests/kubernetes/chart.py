"""The chart's objects for a desk whose stores are servers of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from tests.helm.rendering import FULLNAME, NAMESPACE, rendered
from tests.kubernetes.objects import Object

IMAGE = "localhost/ticket-assets:test"
CONFIGURATION, STATE, SECRETS = (
    "/etc/ticket-assets",
    "/var/lib/ticket-assets",
    "/run/secrets/ticket-assets",
)
MADE_BY_THE_CHART = {
    *("data_dir", "warehouse", "warehouse_password_file", "s3_secret"),
    *("dagster_postgres", "dagster_postgres_password_file"),
}
"""The settings, by field, that the chart makes of other values."""
QUICKLY: dict[str, Any] = {
    "dagsterDaemon": {
        "runCoordinator": {"config": {"queuedRunCoordinator": {"dequeueIntervalSeconds": 1}}},
        "runMonitoring": {
            "startTimeoutSeconds": 40,
            "cancelTimeoutSeconds": 20,
            "pollIntervalSeconds": 1,
            "freeSlotsAfterRunEndSeconds": 1,
        },
    },
}
"""Values with which a test does not wait for minutes."""


def chart_objects(
    settings: Mapping[str, str],
    catalogue: Mapping[str, str],
    database: Mapping[str, str],
    port: int,
    **values: Any,
) -> list[Object]:
    """The objects of the release, in the order in which they are applied.

    Args:
        settings: of the desk, by field.
        catalogue: connection parameters of the warehouse's database.
        database: connection parameters of Dagster's, on the same server.
        port: of this machine, on which the code location listens.
        values: more values of the chart.
    """
    image, _, tag = IMAGE.rpartition(":")
    objects = rendered(
        {
            "image": {"repository": image, "tag": tag},
            "settings": {
                f"TICKETS_{field}".upper(): value
                for field, value in settings.items()
                if field not in MADE_BY_THE_CHART
            },
            "secrets": {
                "s3Secret": settings["s3_secret"],
                "warehousePassword": catalogue["password"],
            },
            "postgresql": {
                "enabled": False,
                "postgresqlHost": database["host"],
                "postgresqlUsername": database["user"],
                "postgresqlPassword": database["password"],
                "postgresqlDatabase": database["dbname"],
                "warehouseDatabase": catalogue["dbname"],
                "service": {"port": int(database["port"])},
            },
            "chroma": {"enabled": False},
            "codeLocation": {"port": port},
            "runLauncher": {"config": {"k8sRunLauncher": {"loadInclusterConfig": False}}},
        },
        QUICKLY,
        values,
    )
    for made in objects:
        if "workspace.yaml" in made.get("data", {}):
            workspace = yaml.safe_load(made["data"]["workspace.yaml"])
            for location in workspace["load_from"]:
                # No name of a Service means anything on this machine.
                location["grpc_server"]["host"] = "127.0.0.1"
            made["data"]["workspace.yaml"] = yaml.safe_dump(workspace)
    objects += [
        _deployment("code-location", _code_location(port)),
        _deployment("daemon", f"dagster-daemon run -w {CONFIGURATION}/workspace.yaml".split()),
    ]
    order = ["ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Secret"]
    return sorted(
        (made for made in objects if made["kind"] in {*order, "Deployment"}),
        key=lambda made: [*order, "Deployment"].index(made["kind"]),
    )


def _code_location(port: int) -> list[str]:
    return (
        "dagster api grpc --module-name ticket_assets.definitions --location-name ticket_assets"
        f" --host 0.0.0.0 --port {port}"
    ).split()


def _deployment(name: str, command: list[str]) -> Object:
    labels = {"app": name}
    volumes = {
        CONFIGURATION: {"name": "configuration", "configMap": {"name": f"{FULLNAME}-instance"}},
        STATE: {"name": "state", "emptyDir": {}},
        "/tmp": {"name": "tmp", "emptyDir": {}},  # noqa: S108
        SECRETS: {"name": "secrets", "secret": {"secretName": f"{FULLNAME}-secrets"}},
    }
    container = {
        "name": "dagster",
        "image": IMAGE,
        "command": command,
        "envFrom": [{"configMapRef": {"name": f"{FULLNAME}-settings"}}],
        "env": [
            {"name": "DAGSTER_HOME", "value": CONFIGURATION},
            {"name": "DAGSTER_CURRENT_IMAGE", "value": IMAGE},
        ],
        "volumeMounts": [
            {"name": volume["name"], "mountPath": path} for path, volume in volumes.items()
        ],
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{FULLNAME}-{name}", "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "strategy": {"type": "Recreate"},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "serviceAccountName": f"{FULLNAME}-{name}",
                    "containers": [container],
                    "volumes": list(volumes.values()),
                },
            },
        },
    }
