"""The services of docker-compose.yml, started from it by podman, sort mail by themselves.

The object store, Prometheus, Grafana and what else comes from a registry are left out. Postgres is
Debian's, in an image that takes the official one's variables.
"""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.compose.compose_file import PROJECT, configuration
from tests.compose.in_podman import Project
from tests.days import last_friday
from tests.loopback import free_port
from tests.services.containers import Containers
from ticket_assets.sample.mailbox import generate, write_mailbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500, func_only=True)]

MESSAGES, DAYS = 200, 5
# A small desk gets a champion, soon.
SETTINGS = {
    "TICKETS_MACRO_F1_FLOOR": "0",
    "TICKETS_MIN_CLASS_TICKETS": "5",
    "TICKETS_POLL_SECONDS": "10",
}
FROM_REGISTRIES = ("prometheus", "alertmanager", "grafana", "cadvisor", "node-exporter")
COUNT = """
import duckdb
with duckdb.connect("/var/lib/ticket-assets/warehouse.duckdb", read_only=True) as connection:
    print(*(connection.execute(f"select count(*) from tickets.{name}").fetchone()[0]
            for name in ("clean_tickets", "ticket_predictions")))
"""
LOCATIONS = """{ workspaceOrError { ... on Workspace {
  locationEntries { name locationOrLoadError { __typename } } } } }"""
RUNS = "{ runsOrError { ... on Runs { results { runId jobName status tags { key value } } } } }"


class Booted(Project):
    """The project with Dagster's UI on a port of this machine."""

    port: int

    def asked(self, query: str) -> Any:
        """The UI's answer to a GraphQL query."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps({"query": query}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)["data"]

    def runs(self) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = self.asked(RUNS)["runsOrError"]["results"]
        return results

    def tickets(self, *arguments: object) -> str:
        done = self.running["code-location"].run("tickets", *arguments)
        return done.stdout + done.stderr

    def rows(self) -> list[int]:
        """Clean tickets and predictions in the tables; none while these are made or written."""
        said = self.running["code-location"].run("python3", "-c", COUNT, check=False).stdout
        return [int(word) for word in said.split()]

    def wait_until_sorted(self, more_than: int) -> None:
        """Waits until every ticket has its prediction, and there are more than so many."""

        def is_sorted() -> bool:
            rows = self.rows()
            return len(set(rows)) == 1 and rows[0] > more_than

        self.wait_until(is_sorted, f"more than {more_than} tickets are sorted")

    def wait_until(self, condition: Callable[[], bool], what: str, seconds: float = 600) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"It is not so that {what}: {self.runs()}"
            time.sleep(2)


@pytest.fixture(scope="module")
def desk(
    containers: Containers,
    product_image: str,
    postgres_image: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Booted]:
    folder = tmp_path_factory.mktemp("compose")
    folder.chmod(0o755)
    subprocess.run([PROJECT / "compose" / "new-secrets", "./secrets"], cwd=folder, check=True)
    given, port = folder / "desk", free_port()
    (given / "drop").mkdir(parents=True)
    mails = generate(messages=MESSAGES, days=DAYS, until=last_friday())
    sample = write_mailbox(given, mails)
    assert (sample.mailbox.name, sample.labels.name) == ("mailbox.mbox", "labels.csv")
    others = generate(messages=MESSAGES, days=DAYS, until=last_friday(), seed=8)
    write_mailbox(folder / "more", others).mailbox.rename(given / "more.mbox")
    config = configuration(
        "monitoring",
        SECRETS=str(folder / "secrets"),
        DESK_FOLDER=str(given),
        UI_PORT=str(port),
        TICKET_ASSETS_IMAGE=product_image,
    )
    name = f"compose-{uuid4().hex[:8]}"
    project = Booted(
        containers,
        config,
        name,
        images={"postgres": postgres_image},
        environment=SETTINGS,
        without=FROM_REGISTRIES,
    )
    project.port = port
    try:
        project.up()
        yield project
    finally:
        project.down()


def test_the_ui_has_loaded_the_product(desk: Booted) -> None:
    entries = desk.asked(LOCATIONS)["workspaceOrError"]["locationEntries"]

    assert entries == [
        {
            "name": "ticket_assets",
            "locationOrLoadError": {"__typename": "RepositoryLocation"},
        }
    ]


@pytest.mark.parametrize(
    "service",
    [
        *("postgres", "chroma", "code-location", "webserver", "daemon"),
        *("exporter", "evidently"),
    ],
)
def test_each_service_is_healthy(desk: Booted, service: str) -> None:
    assert desk.is_healthy(service)


def test_the_stores_reach_nobody_outside(desk: Booted) -> None:
    connect = "import socket; socket.create_connection(('192.0.2.1', 80), 2)"

    done = desk.running["chroma"].run("python3", "-c", connect, check=False)

    assert "Network is unreachable" in done.stderr


def test_imported_mail_is_sorted_by_itself(desk: Booted) -> None:
    desk.tickets("import", "/srv/desk/mailbox.mbox", "--labels", "/srv/desk/labels.csv")

    desk.wait_until_sorted(more_than=150)
    desk.wait_until(lambda: all(map(succeeded, desk.runs())), "all runs have succeeded")


def test_the_exporter_sees_the_desk_and_the_ui(desk: Booted) -> None:
    address = "http://127.0.0.1:9479/metrics"
    read = f"import urllib.request as r; print(r.urlopen('{address}').read().decode())"

    def figures() -> list[str]:
        return desk.running["exporter"].run("python3", "-c", read).stdout.splitlines()

    desk.wait_until(lambda: "tickets_unsorted_messages 0.0" in figures(), "it has counted anew")
    now = figures()
    assert "dagster_webserver_up 1.0" in now
    assert 'dagster_code_location_load_error{location="ticket_assets"} 0.0' in now
    assert not [line for line in now if "read_failed{" in line and not line.endswith(" 0.0")]


def test_a_run_that_dies_with_its_container_is_made_up_for(desk: Booted) -> None:
    known = {run["runId"] for run in desk.runs()}
    desk.tickets("import", "/srv/desk/more.mbox")

    def new() -> list[dict[str, Any]]:
        return [run for run in desk.runs() if run["runId"] not in known]

    desk.wait_until(lambda: any(run["status"] == "STARTED" for run in new()), "a run is at work")
    container = desk.running["code-location"].name
    desk.engine.podman("kill", container)
    desk.engine.podman("start", container)

    desk.wait_until(lambda: any(run["status"] == "FAILURE" for run in new()), "the run has failed")
    desk.wait_until_sorted(more_than=MESSAGES)
    desk.wait_until(lambda: succeeded(new()[0]), "the latest run has succeeded")


def succeeded(run: dict[str, Any]) -> bool:
    return bool(run["status"] == "SUCCESS")
