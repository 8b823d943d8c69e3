"""A desk whose daemon and code location run in the small Kubernetes, and whose runs are pods."""

from __future__ import annotations

import os
import re
import sysconfig
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import platformdirs
import psycopg2
import pytest
import yaml
from dagster._core.instance.ref import InstanceRef
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from psycopg2.extensions import make_dsn

from tests.helm.rendering import FULLNAME, NAMESPACE
from tests.kubernetes.chart import IMAGE, chart_objects
from tests.kubernetes.cluster import Cluster
from tests.kubernetes.controllers import job_end
from tests.kubernetes.gate import Gate
from tests.kubernetes.objects import Object, name_of
from tests.kubernetes.runtimes import LocalProcesses, Runtime
from tests.loopback import free_port
from tests.services.stores import SharedStores
from ticket_assets.settings import child_environment
from ticket_assets.storage.tables import SCHEMA

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
REAPER = "reap_jobs"
LONG_NUMBER = re.compile(r"-?\d+\.\d{9,}(e-?\d+)?")
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
        self,
        folder: Path,
        stores: SharedStores,
        database: Mapping[str, str],
        *,
        image: str = IMAGE,
        runtime: Callable[[Path, dict[str, str]], Runtime] | None = None,
        **settings: str,
    ) -> None:
        """A desk whose objects are applied and whose pods start.

        Args:
            folder: for the cluster and this process.
            stores: where its mail, tables and vectors are.
            database: connection parameters of Dagster's database.
            image: of its pods.
            runtime: runs its pods, given their folder and the image's variables. Without it they
                are processes that have loaded the libraries already.
            settings: more settings of the desk, by field.
        """
        self.stores, self._folder, self._exit = stores, folder, ExitStack()
        self.gate = self._exit.enter_context(closing(Gate(stores.s3.endpoint)))
        secret = folder / "dagster-password"
        secret.write_text(database["password"])
        server = {key: value for key, value in database.items() if key != "password"}
        # What a person starts beside the cluster is on the same instance.
        stores.settings |= {
            "dagster_postgres": make_dsn(**server),
            "dagster_postgres_password_file": str(secret),
            "s3_endpoint": self.gate.url,
            **settings,
        }
        stores.environment = child_environment(stores.settings)
        self.image = image
        pods, environment = folder / "pods", _image_environment()
        make = runtime or partial(LocalProcesses, warm=True)
        self.cluster = self._exit.enter_context(closing(Cluster(folder, make(pods, environment))))
        objects = chart_objects(stores.settings, stores.database, database, free_port(), image)
        self._apply(objects, "ServiceAccount", "Role", "RoleBinding", "ConfigMap", "Secret", "Job")
        wait_until(self._is_migrated, "Dagster's tables are not there")
        self._apply(objects, "Deployment")
        self.instance, self._workspace = self._connect(make_dsn(**database))
        self.switch_off()
        self.cluster.scale(NAMESPACE, f"{FULLNAME}-daemon", 1)

    def close(self) -> None:
        self._exit.close()

    def _apply(self, objects: list[Object], *kinds: str) -> None:
        """Applies the objects of these kinds, as far as runs need them."""
        for kind in kinds:
            for made in objects:
                if made["kind"] != kind:
                    continue
                if kind == "Deployment":
                    if not name_of(made).endswith(("code-location", "daemon")):
                        continue
                    self._adapt(made)
                if "dagster.yaml" in made.get("data", {}) and name_of(made).endswith("instance"):
                    self._configuration = made["data"]
                self.cluster.apply(NAMESPACE, [made])

    def _is_migrated(self) -> bool:
        job = self.cluster.store.get("jobs", NAMESPACE, f"{FULLNAME}-migrate")
        ended = job_end(job) is not None
        assert not ended or job["status"].get("succeeded"), self.log("migrate")
        return ended

    def _adapt(self, deployment: Object) -> None:
        """Gives the pods of this machine the account that they have in their files elsewhere."""
        spec = deployment["spec"]["template"]["spec"]
        account = self.cluster.kubeconfig(NAMESPACE, spec["serviceAccountName"])
        for container in spec["containers"]:
            container.setdefault("env", []).append({"name": "KUBECONFIG", "value": str(account)})
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
                if sensor.name == REAPER:
                    continue
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

    def backfill(self, job: str, days: list[date]) -> str:
        """The id of a new backfill over these days."""
        parameters = {
            "selector": {
                "partitionSetName": f"{job}_partition_set",
                "repositorySelector": {
                    "repositoryLocationName": "ticket_assets",
                    "repositoryName": "__repository__",
                },
            },
            "partitionNames": [str(day) for day in days],
        }
        answer = self.ask(BACKFILL, parameters=parameters)["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return str(answer["backfillId"])

    def deployed(self, app: str) -> Object:
        """The pod of a Deployment."""
        found: list[Object] = []

        def is_running() -> bool:
            found[:] = [
                pod
                for pod in self.cluster.store.list("pods", NAMESPACE, "", "status.phase=Running")
                if name_of(pod).startswith(f"{FULLNAME}-{app}-")
                and not pod["metadata"].get("deletionTimestamp")
            ]
            return bool(found)

        self.wait_until(is_running, f"{app} runs")
        return found[0]

    def restart(self, app: str) -> None:
        """Replaces the pod of a Deployment, as a new version does."""
        former = name_of(self.deployed(app))
        self.cluster.restart(NAMESPACE, f"{FULLNAME}-{app}")
        self.wait_until(lambda: name_of(self.deployed(app)) != former, f"{app} is another pod")

    def reload(self) -> None:
        """Has the webserver load the code location anew."""
        self.wait_until(
            lambda: "Started Dagster code server" in self.log("code-location"), "it is loaded"
        )
        self._workspace.reload_code_location("ticket_assets")

    def lose(self, day: date) -> None:
        """Removes what was made of a day's mail: it is there again only if it is made again.

        Not the vectors: computed in other company they differ in the eighth digit.
        """
        with self.stores.desk().warehouse.transaction() as connection:
            connection.execute(f"set schema = '{SCHEMA}'")
            for table in ("raw_tickets", "clean_tickets", "ticket_predictions"):
                connection.execute(
                    f"delete from {table} where received_at::date = ?",  # noqa: S608
                    [day],
                )

    @contextmanager
    def writers_waiting(self) -> Iterator[None]:
        """Lets no run write its first row until the block ends."""
        with self.stores.desk().warehouse.transaction():
            yield

    @contextmanager
    def commits_waiting(self) -> Iterator[Callable[[], bool]]:
        """Lets no run commit what it has written until the block ends; yields whether one tries."""
        with (
            closing(psycopg2.connect(**self.stores.database)) as connection,
            connection,
            connection.cursor() as cursor,
        ):
            cursor.execute("lock table ducklake_snapshot in exclusive mode")

            def is_tried() -> bool:
                cursor.execute(
                    "select count(*) from pg_locks"
                    " where relation = 'ducklake_snapshot'::regclass and not granted"
                )
                return bool(cursor.fetchone()[0])

            yield is_tried

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
            if last.status is dg.DagsterRunStatus.FAILURE:  # Dagster decides a moment later
                return last.tags.get("dagster/will_retry") == "false"
            return last.is_finished

        self.wait_until(is_settled, f"run {run_id} has ended")
        return [run.status.value for run in self.runs(run_id)]

    def runs_of(self, backfill: str) -> list[dg.DagsterRun]:
        return list(self.instance.get_runs(dg.RunsFilter(tags={"dagster/backfill": backfill})))

    def errors(self, run_id: str) -> str:
        """What the steps of a run say that have failed."""
        causes = []
        for entry in self.instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
            error = entry.get_dagster_event().step_failure_data.error
            while error is not None:
                causes.append(error.message)
                error = error.cause
        return "".join(causes)

    def at_work(self, run_id: str) -> Object:
        """The pod of a run, once its first step has begun."""
        self.wait_until(lambda: "STEP_START" in self.kinds(run_id), f"run {run_id} is at work")
        return self.pod(run_id)

    def kinds(self, run_id: str) -> set[str]:
        """The kinds of the run's events so far."""
        return {
            entry.dagster_event.event_type_value
            for entry in self.instance.all_logs(run_id)
            if entry.dagster_event is not None
        }

    def events(self, run_id: str) -> str:
        """What the run's log says."""
        return "\n".join(entry.message for entry in self.instance.all_logs(run_id))

    def job(self, run_id: str) -> Object | None:
        return self.cluster.store.find("jobs", NAMESPACE, f"dagster-run-{run_id}")

    def jobs(self, run_id: str) -> list[Object]:
        """The Jobs that there are of a run and its repetitions."""
        runs = {run.run_id for run in self.runs(run_id)}
        return [
            job
            for job in self.cluster.store.list("jobs", NAMESPACE)
            if job["metadata"]["labels"].get("dagster/run-id") in runs
        ]

    def answers(self, verb: str, resource: str, code: int) -> int:
        """How many requests of a kind the API has answered with this code."""
        return sum(
            (request.verb, request.resource, request.code) == (verb, resource, code)
            for request in self.cluster.api.requests
        )

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

    def differences(self, tables: Mapping[str, list[str]]) -> dict[str, list[str]]:
        """The rows that are lost, or there once too often, by table."""
        present = self.stores.tables()
        differences = {}
        for name in present.keys() | tables.keys():
            counts = Counter(map(rounded, present.get(name, [])))
            counts.subtract(map(rounded, tables.get(name, [])))
            if changed := sorted(f"{count:+} {row}" for row, count in counts.items() if count):
                differences[name] = changed
        return differences

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = 150) -> None:
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


def rounded(row: str) -> str:
    """A row with figures of nine digits: beyond them, sums differ with the order of rows."""
    return LONG_NUMBER.sub(lambda number: f"{float(number[0]):.9g}", row)


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
