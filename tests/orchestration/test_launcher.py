"""Where each run gets a pod, stores in a data folder are refused, and a sensor removes Jobs."""

import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef

from tests.orchestration.conftest import POD_STORES
from tests.orchestration.jobs_api import JobsApi
from ticket_assets.defs import run_pods
from ticket_assets.orchestration.launcher import LauncherError, refuse_local_stores
from ticket_assets.settings import PREFIX, Settings


@dg.job
def nothing() -> None:
    pass


@pytest.fixture
def home(tmp_path: Path, pod_launcher: Callable[..., dict[str, Any]]) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "dagster.yaml").write_text(yaml.safe_dump({"run_launcher": pod_launcher()}))
    return folder


def refused(home: Path, *command: str, **settings: str) -> str:
    """The last line of what the process says that ends with an error."""
    environment = {name: value for name, value in os.environ.items() if PREFIX not in name}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=home.parent,
        env=environment | {"DAGSTER_HOME": str(home)} | settings,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    return done.stderr.strip().splitlines()[-1]


CODE_LOCATION = ("-c", "import ticket_assets.definitions")
MIGRATE = ("-m", "ticket_assets", "dagster", "migrate")


@pytest.mark.slow
@pytest.mark.parametrize("command", [CODE_LOCATION, MIGRATE])
def test_stores_in_a_data_folder_are_refused_where_runs_are_pods(
    home: Path, command: tuple[str, ...]
) -> None:
    line = refused(home, *command)

    assert line.endswith(
        "dagster.yaml starts each run in a pod of its own (RunPodLauncher), and pods share no data"
        f" folder. Set {', '.join(POD_STORES)} (docs/shared-stores.md), or remove run_launcher from"
        " dagster.yaml."
    )
    assert not (home.parent / "data").exists()


@pytest.mark.parametrize("missing", POD_STORES)
def test_one_such_store_suffices(home: Path, missing: str) -> None:
    shared = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in POD_STORES.items()
        if name != missing
    }
    ref = InstanceRef.from_dir(str(home))

    with pytest.raises(LauncherError, match=rf"Set {missing} \("):
        refuse_local_stores(ref, Settings(_env_file=None, **shared))


@pytest.fixture
def instance(
    instance_of_pods: Callable[..., AbstractContextManager[dg.DagsterInstance]],
) -> Iterator[dg.DagsterInstance]:
    with instance_of_pods(reap_after_seconds=0) as instance:
        yield instance


@pytest.mark.slow
def test_the_sensor_removes_jobs_and_says_which(instance: dg.DagsterInstance, api: JobsApi) -> None:
    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTING)
    instance.report_run_failed(run)
    name = api.add(run.run_id, datetime.now(UTC) - timedelta(hours=1))
    dead = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTING)
    api.add(dead.run_id, datetime.now(UTC), "Failed")
    sensor = runpy.run_path(str(run_pods.__file__))["reap_jobs"]

    def said() -> str | None:
        tick = sensor.evaluate_tick(dg.build_sensor_context(instance))
        return tick.skip_message

    assert said() == (
        f"Removed: {name}. Failed, since their pods ended before they began: {dead.run_id}."
    )
    assert said() == "Each Job at work has a run at work."


def test_other_desks_have_no_such_sensor() -> None:
    assert run_pods.reap_jobs is None
