"""A desk whose runs start in pods, and the API that is asked about them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from tests.orchestration.jobs_api import NAMESPACE, JobsApi, jobs_api
from ticket_assets.orchestration.instance import desk_instance
from ticket_assets.orchestration.run_pods import RunPodLauncher
from ticket_assets.settings import load_settings

POD_STORES = {
    "TICKETS_WAREHOUSE": "ducklake:postgres:host=db dbname=tickets",
    "TICKETS_FILES": "s3://bucket/desk",
    "TICKETS_CHROMA_URL": "http://chroma:8000",
    "TICKETS_DAGSTER_POSTGRES": "postgresql://tickets@db/dagster",
}
"""What pods share; nobody asks them here."""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[JobsApi]:
    with jobs_api(tmp_path) as api:
        yield api


@pytest.fixture
def pod_launcher(api: JobsApi) -> Callable[..., dict[str, Any]]:
    """The part of dagster.yaml that names the launcher, with more of its configuration."""

    def configured(**configuration: Any) -> dict[str, Any]:
        return {
            "module": RunPodLauncher.__module__,
            "class": RunPodLauncher.__name__,
            "config": {
                "service_account_name": "run",
                "instance_config_map": "instance",
                "job_image": "ticket-assets:1",
                "job_namespace": NAMESPACE,
                "load_incluster_config": False,
                "kubeconfig_file": str(api.configuration),
                **configuration,
            },
        }

    return configured


@pytest.fixture
def instance_of_pods(
    tmp_path: Path,
    pod_launcher: Callable[..., dict[str, Any]],
    new_instance: Callable[[Path], AbstractContextManager[dg.DagsterInstance]],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., AbstractContextManager[dg.DagsterInstance]]]:
    """Opens an instance with that launcher; its history is in SQLite all the same."""

    @contextmanager
    def opened(**configuration: Any) -> Iterator[dg.DagsterInstance]:
        with new_instance(tmp_path):
            pass
        with (tmp_path / "dagster" / "dagster.yaml").open("a") as file:
            yaml.safe_dump({"run_launcher": pod_launcher(**configuration)}, file)
            file.write("# Not PooledPostgresStorage.\n")
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
        for variable, value in POD_STORES.items():
            monkeypatch.setenv(variable, value)
        load_settings.cache_clear()
        with desk_instance(tmp_path) as instance:
            yield instance

    yield opened
    load_settings.cache_clear()
