"""The chart's objects for a desk whose stores are servers of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from tests.helm.rendering import rendered
from tests.kubernetes.objects import Object

IMAGE = "localhost/ticket-assets:test"
MADE_BY_THE_CHART = {
    *("data_dir", "warehouse", "warehouse_password_file", "s3_secret"),
    *("dagster_postgres", "dagster_postgres_password_file"),
}
"""The settings, by field, that the chart makes of other values."""
QUICKLY: dict[str, Any] = {
    "dagsterDaemon": {
        "runCoordinator": {"config": {"queuedRunCoordinator": {"dequeueIntervalSeconds": 1}}},
        "runMonitoring": {
            "startTimeoutSeconds": 30,
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
    image: str = IMAGE,
) -> list[Object]:
    """The objects of the release.

    Args:
        settings: of the desk, by field.
        catalogue: connection parameters of the warehouse's database.
        database: connection parameters of Dagster's, on the same server.
        port: of this machine, on which the code location listens.
        image: of all pods.
    """
    repository, _, tag = image.rpartition(":")
    objects = rendered(
        {
            "image": {"repository": repository, "tag": tag},
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
    )
    for made in objects:
        if "workspace.yaml" in made.get("data", {}):
            workspace = yaml.safe_load(made["data"]["workspace.yaml"])
            for location in workspace["load_from"]:
                # No name of a Service means anything on this machine.
                location["grpc_server"]["host"] = "127.0.0.1"
            made["data"]["workspace.yaml"] = yaml.safe_dump(workspace)
            instance = yaml.safe_load(made["data"]["dagster.yaml"])
            instance["run_launcher"]["config"]["reap_after_seconds"] = 1
            made["data"]["dagster.yaml"] = yaml.safe_dump(instance)
    return objects
