"""A run's own process needs nothing but its arguments and the settings; other processes of the desk
write nothing beside the dagster.yaml that they are given."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._cli.api import ExecuteRunArgs
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.origin import (
    DEFAULT_DAGSTER_ENTRY_POINT,
    JobPythonOrigin,
    RepositoryPythonOrigin,
)
from psycopg2.extensions import make_dsn

from tests.days import days_ago
from tests.services.stores import Stores
from ticket_assets.orchestration.code_location import MODULE, job_origin
from ticket_assets.orchestration.instance import desk_instance
from ticket_assets.sample.mailbox import generate, write_mailbox

pytestmark = pytest.mark.slow

READ_ONLY = {
    "storage": {
        "custom": {
            "module": "ticket_assets.orchestration.postgres",
            "class": "PooledPostgresStorage",
        }
    },
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    },
    "telemetry": {"enabled": False},
}
"""As the chart has it, but for the launcher."""


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    stores = Stores(tmp_path / "desk")
    sample = write_mailbox(
        tmp_path / "sample", list(generate(messages=30, days=2, until=days_ago(1)))
    )
    stores.tickets("import", sample.mailbox)
    return stores


def requested_run(instance: dg.DagsterInstance, day: str) -> dg.DagsterRun:
    """A run as the daemon makes it."""
    repository = RepositoryPythonOrigin(
        sys.executable,
        ModuleCodePointer(MODULE, "defs", None),
        entry_point=DEFAULT_DAGSTER_ENTRY_POINT,
    )
    run = dg.DagsterRun(
        "collect_mail",
        tags={"dagster/partition": day},
        asset_selection={dg.AssetKey("raw_tickets"), dg.AssetKey("rejected_messages")},
        status=dg.DagsterRunStatus.STARTING,
        remote_job_origin=job_origin("collect_mail"),
        job_code_origin=JobPythonOrigin("collect_mail", repository),
    )
    return instance.run_storage.add_run(run)


def test_a_run_needs_neither_dagster_yaml_nor_a_home(stores: Stores, tmp_path: Path) -> None:
    home, dagster_home = tmp_path / "no-home", tmp_path / "no-dagster-home"
    day = str(stores.desk().landing.days()[0])
    with desk_instance(stores.desk().folder) as instance:
        run = requested_run(instance, day)
        assert run.job_code_origin
        arguments = ExecuteRunArgs(
            run.job_code_origin, run.run_id, instance.get_ref(), set_exit_code_on_failure=True
        ).get_command_args()
        settings = {
            name: value for name, value in stores.environment.items() if name.startswith("TICKETS_")
        }

        done = subprocess.run(
            arguments,
            cwd="/",
            env={
                "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(home),
                "DAGSTER_HOME": str(dagster_home),
                **settings,
            },
            check=False,
            capture_output=True,
            text=True,
        )

        assert done.returncode == 0, done.stderr[-3000:]
        assert instance.get_run_by_id(run.run_id).status == dg.DagsterRunStatus.SUCCESS
    rows = stores.desk().warehouse.rows("select distinct received_at::date from raw_tickets")
    assert [str(received) for (received,) in rows] == [day]
    assert not dagster_home.exists()
    assert not home.exists()


def test_nothing_is_written_beside_a_dagster_yaml_that_names_other_places(
    stores: Stores, tmp_path: Path, postgres
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    artifacts = {
        "module": "dagster._core.storage.root",
        "class": "LocalArtifactStorage",
        "config": {"base_dir": str(tmp_path / "artifacts")},
    }
    (home / "dagster.yaml").write_text(
        yaml.safe_dump({**READ_ONLY, "local_artifact_storage": artifacts})
    )
    stores.environment |= {
        "DAGSTER_HOME": str(home),
        "TICKETS_DAGSTER_POSTGRES": make_dsn(**postgres.database()),
    }

    stores.tickets("dagster", "migrate")
    stores.tickets("run", "--only", "raw_tickets")
    stores.tickets("status")

    assert [path.name for path in home.iterdir()] == ["dagster.yaml"]
