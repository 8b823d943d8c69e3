"""A desk whose daemon and code location run in the small Kubernetes, and whose runs are pods."""

from __future__ import annotations

import os
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import platformdirs
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from psycopg2.extensions import make_dsn

from tests.helm.rendering import FULLNAME, NAMESPACE
from tests.kubernetes.chart import chart_objects
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.controllers import job_end
from tests.kubernetes.objects import Object, name_of
from tests.loopback import free_port
from tests.services.stores import SharedStores
from ticket_assets.settings import child_environment

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
LAUNCH = """
mutation($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on InvalidSubsetError { message }
  }
}
"""
TERMINATE = """
mutation($run: String!) {
  terminateRun(runId: $run) { __typename }
}
"""
BACKFILL = """
mutation($parameters: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $parameters) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}
"""


class DeskInCluster:
    """The desk; its stores are shared, and everything that works on them is a pod."""

    def __init__(
        self, folder: Path, stores: SharedStores, database: Mapping[str, str], **settings: str
    ) -> None:
        """A desk whose objects are applied and whose pods start.

        Args:
            folder: for the cluster and this process.
            stores: where its mail, tables and vectors are.
            database: connection parameters of Dagster's database.
            settings: more settings of the desk, by field.
        """
        self.stores, self._folder, self._exit = stores, folder, ExitStack()
        secret = folder / "dagster-password"
        secret.write_text(database["password"])
        server = {key: value for key, value in database.items() if key != "password"}
        # What a person starts beside the cluster is on the same instance.
        stores.settings |= {
            "dagster_postgres": make_dsn(**server),
            "dagster_postgres_password_file": str(secret),
            **settings,
        }
        stores.environment = child_environment(stores.settings)
        self.cluster = self._exit.enter_context(
            closing(Cluster(folder, _image_environment(), warm=True))
        )
        objects = chart_objects(stores.settings, stores.database, database, free_port())
        self.cluster.apply(NAMESPACE, self._adapted(objects))
        self.instance, self._workspace = self._connect(make_dsn(**database))
        self.switch_off()
        self.cluster.scale(NAMESPACE, f"{FULLNAME}-daemon", 1)

    def close(self) -> None:
        self._exit.close()

    def _adapted(self, objects: list[Object]) -> Iterator[Object]:
        """The objects, with what processes of this machine need."""
        for made in objects:
            if "dagster.yaml" in made.get("data", {}):
                self._configuration = made["data"]
            if made["kind"] == "Deployment":
                self._adapt(made)
            yield made

    def _adapt(self, deployment: Object) -> None:
        spec = deployment["spec"]["template"]["spec"]
        account = self.cluster.kubeconfig(NAMESPACE, spec["serviceAccountName"])
        for container in spec["containers"]:
            container["env"] += [
                {"name": "KUBECONFIG", "value": str(account)},
                {"name": "DAGSTER_EVENT_LOG_CONSUMER_DAEMON_INTERVAL_SECONDS", "value": "1"},
            ]
        # The daemon begins when its sensors are switched off.
        deployment["spec"]["replicas"] = int(not name_of(deployment).endswith("daemon"))

    def _connect(self, database: str) -> tuple[dg.DagsterInstance, WorkspaceProcessContext]:
        """Dagster's instance and the code location, as the webserver sees them."""
        home = self._folder / "webserver"
        home.mkdir()
        configuration = yaml.safe_load(self._configuration["dagster.yaml"])
        configuration["storage"] = {"postgres": {"postgres_url": _url(database)}}
        configuration["local_artifact_storage"]["config"] = {"base_dir": str(home)}
        launcher = configuration["run_launcher"]["config"]
        account = self.cluster.kubeconfig(NAMESPACE, f"{FULLNAME}-webserver")
        launcher["kubeconfig_file"] = str(account)
        (home / "dagster.yaml").write_text(yaml.safe_dump(configuration))
        (home / "workspace.yaml").write_text(self._configuration["workspace.yaml"])
        wait_until(lambda: self.log("code-location").count("Started Dagster code server"), "code")
        instance = self._exit.enter_context(
            dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home)))
        )
        target = WorkspaceFileTarget([str(home / "workspace.yaml")])
        return instance, self._exit.enter_context(WorkspaceProcessContext(instance, target))

    # What a person does

    def launch(
        self,
        job: str,
        first: date,
        last: date | None = None,
        assets: tuple[str, ...] = (),
        **tags: str,
    ) -> str:
        """The id of a new run for these days."""
        if last is None or last == first:
            days = {"dagster/partition": str(first)}
        else:
            days = {
                "dagster/asset_partition_range_start": str(first),
                "dagster/asset_partition_range_end": str(last),
            }
        selector: dict[str, Any] = {
            "repositoryLocationName": "ticket_assets",
            "repositoryName": "__repository__",
            "jobName": job,
        }
        if assets:
            selector["assetSelection"] = [{"path": [asset]} for asset in assets]
        metadata = {"tags": [{"key": key, "value": value} for key, value in (days | tags).items()]}
        answer = self.ask(LAUNCH, parameters={"selector": selector, "executionMetadata": metadata})[
            "launchRun"
        ]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    def cancel(self, run_id: str) -> None:
        answer = self.ask(TERMINATE, run=run_id)["terminateRun"]
        assert answer == {"__typename": "TerminateRunSuccess"}

    def switch_off(self) -> None:
        """Leaves runs to the test: no sensor and no schedule starts one."""
        for repository in self._repositories():
            for sensor in repository.get_sensors():
                self.instance.stop_sensor(sensor.get_remote_origin_id(), sensor.selector_id, sensor)
            for schedule in repository.get_schedules():
                self.instance.stop_schedule(
                    schedule.get_remote_origin_id(), schedule.selector_id, schedule
                )

    def switch_on(self, *names: str) -> None:
        """Switches sensors on."""
        for repository in self._repositories():
            for sensor in repository.get_sensors():
                if sensor.name in names:
                    self.instance.start_sensor(sensor)

    def _repositories(self) -> list[Any]:
        location = self._workspace.create_request_context().get_code_location("ticket_assets")
        return list(location.get_repositories().values())

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """The answer to a GraphQL query."""
        from dagster_graphql.test.utils import execute_dagster_graphql

        context = self._workspace.create_request_context()
        return dict(execute_dagster_graphql(context, query, variables).data)

    # What there is

    def status(self, run_id: str) -> dg.DagsterRunStatus:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status

    def runs(self, run_id: str) -> list[dg.DagsterRun]:
        """A run and its repetitions, in order."""
        repeated = self.instance.get_runs(dg.RunsFilter(tags={"dagster/root_run_id": run_id}))
        first = self.instance.get_run_by_id(run_id)
        assert first is not None
        return [first, *reversed(list(repeated))]

    def outcome(self, run_id: str) -> list[str]:
        """How a run and its repetitions have ended, once nothing more follows."""

        def is_settled() -> bool:
            *_, last = self.runs(run_id)
            return last.is_finished and last.tags.get("dagster/will_retry") != "true"

        self.wait_until(is_settled, f"run {run_id} has ended")
        return [run.status.value for run in self.runs(run_id)]

    def events(self, run_id: str) -> str:
        """What the run's log says."""
        return "\n".join(entry.user_message for entry in self.instance.all_logs(run_id))

    def job(self, run_id: str) -> Object | None:
        return self.cluster.store.find("jobs", NAMESPACE, f"dagster-run-{run_id}")

    def pod(self, run_id: str, phase: str = "Running") -> Object:
        """The run's pod, once it is in this phase."""

        def found() -> list[Object]:
            return self.cluster.store.list(
                "pods", NAMESPACE, f"job-name=dagster-run-{run_id}", f"status.phase={phase}"
            )

        self.wait_until(lambda: bool(found()), f"the pod of run {run_id} is {phase}")
        return found()[0]

    def log(self, app: str) -> str:
        """What the pods of a Deployment have written."""
        pods = [
            name_of(pod)
            for pod in self.cluster.store.list("pods", NAMESPACE)
            if name_of(pod).startswith(f"{FULLNAME}-{app}-")
        ]
        return "".join(self.cluster.node.log(pod) for pod in pods)

    def run_log(self, run_id: str) -> str:
        """What the pods of a run have written."""
        pods = self.cluster.store.list("pods", NAMESPACE, f"dagster/run-id={run_id}")
        return "".join(self.cluster.node.log(name_of(pod)) for pod in pods)

    def unfinished(self) -> list[dg.DagsterRun]:
        return list(self.instance.get_runs(dg.RunsFilter(statuses=UNFINISHED)))

    def orphans(self) -> list[str]:
        """Jobs and pods that are at work, or about to be, for a run that has ended."""
        living = {run.run_id for run in self.unfinished()}
        jobs = [
            job
            for job in self.cluster.store.list("jobs", NAMESPACE, "dagster/run-id")
            if job_end(job) is None
        ]
        pods = [
            pod
            for pod in self.cluster.store.list("pods", NAMESPACE, "dagster/run-id")
            if pod["status"].get("phase") in {None, "Pending", "Running"}
        ]
        return [
            name_of(left)
            for left in [*jobs, *pods]
            if left["metadata"]["labels"]["dagster/run-id"] not in living
        ]

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                pytest.fail(f"After {seconds:.0f} s it is not so that {what}.\n{self.trouble()}")
            time.sleep(0.2)

    def trouble(self) -> str:
        """What helps to see why something has not come."""
        lines = [
            f"{run.run_id} {run.job_name} {run.status.value} {run.tags}"
            for run in self.instance.get_runs(limit=5)
        ]
        lines += [
            f"{name_of(pod)} {pod['status']}" for pod in self.cluster.store.list("pods", NAMESPACE)
        ]
        for app in ("daemon", "code-location"):
            lines += [f"-- {app}", *self.log(app).splitlines()[-40:]]
        for run in self.instance.get_runs(limit=1):
            lines += [f"-- run {run.run_id}", *self.run_log(run.run_id).splitlines()[-40:]]
        return "\n".join(lines)


def wait_until(condition: Callable[[], object], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def _image_environment() -> dict[str, str]:
    """What the image's own variables are, for processes of this machine."""
    scripts = sysconfig.get_path("scripts")
    encoders = platformdirs.user_cache_path("ticket-assets") / "encoders"
    return {
        "PATH": f"{scripts}:/usr/local/bin:/usr/bin:/bin",
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "TICKETS_ENCODERS_DIR": os.environ.get("TICKETS_ENCODERS_DIR", str(encoders)),
        "TICKETS_DATA_DIR": "/var/lib/ticket-assets",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }


def _url(dsn: str) -> str:
    import sqlalchemy
    from psycopg2.extensions import parse_dsn

    parameters = parse_dsn(dsn)
    return sqlalchemy.URL.create(
        "postgresql+psycopg2",
        parameters["user"],
        parameters["password"],
        parameters["host"],
        int(parameters["port"]),
        parameters["dbname"],
    ).render_as_string(hide_password=False)
