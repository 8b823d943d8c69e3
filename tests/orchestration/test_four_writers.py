"""Four that share nothing but the stores, as processes and as containers of the image, sort four
ranges of days at once: what they leave is what one run over all days leaves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from psycopg2.extensions import make_dsn

from tests.days import last_friday
from tests.services.containers import HARDENED, Containers
from tests.services.stores import SharedStores
from ticket_assets.orchestration.instance import desk_instance
from ticket_assets.sample.mailbox import generate, write_mailbox
from ticket_assets.settings import load_settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800, func_only=True)]

MESSAGES, DAYS = 400, 8
RANGES = 4
LABELS = (
    "model_category",
    "model_priority",
    "model_decision",
    "model_priority_decision",
    "model_version",
)
HELD = ("category", "priority", "decision", "priority_decision", "decided_by", "queue")
"""A reply may take them from a ticket of another range."""
CONFIDENCES = ("category_confidence", "priority_confidence")


class Desk(SharedStores):
    """A desk on shared stores whose history is in Postgres as well."""

    def __init__(self, folder: Path, postgres, s3, chroma) -> None:
        super().__init__(folder, postgres, s3, chroma)
        # The one that the image has.
        self.settings["encoder"] = "multilingual-e5-small"
        self.environment["TICKETS_ENCODER"] = self.settings["encoder"]
        self.history = make_dsn(**postgres.database())
        self.environment["TICKETS_DAGSTER_POSTGRES"] = self.history

    def rows(self, query: str) -> list[tuple[object, ...]]:
        return self.desk().warehouse.rows(query)

    def predictions(self) -> pd.DataFrame:
        return self.desk().warehouse.frame("from ticket_predictions order by ticket_id")

    def runs(self, job: str) -> list[dg.RunRecord]:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("TICKETS_DAGSTER_POSTGRES", self.history)
            environment.delenv("DAGSTER_HOME", raising=False)
            load_settings.cache_clear()
            with desk_instance(self.folder / "data") as instance:
                records = instance.get_run_records(dg.RunsFilter(job_name=job))
        load_settings.cache_clear()
        return list(records)


@pytest.fixture(scope="module")
def new_desk(shared_stores, postgres, s3, tmp_path_factory) -> Iterator[Callable[[], Desk]]:
    """Makes desks on the servers of the tests."""

    def make() -> Desk:
        folder = tmp_path_factory.mktemp("desk") / "desk"
        return Desk(folder, postgres, s3, shared_stores().chroma)

    return make


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory):
    mails = generate(messages=MESSAGES, days=DAYS, until=last_friday())
    return write_mailbox(tmp_path_factory.mktemp("sample"), mails)


@pytest.fixture(scope="module")
def by_one(new_desk, mailbox) -> Desk:
    """A desk after one run over all days, in which its champion was trained."""
    desk = new_desk()
    desk.tickets("import", mailbox.mailbox, "--labels", mailbox.labels)
    desk.tickets("run")
    return desk


def sorting(first: date, last: date) -> list[str]:
    """The command that sorts these days."""
    return ["run", "--job", "classify_mail", "--from", str(first), "--to", str(last)]


def in_processes(desk: Desk, ranges: list[tuple[date, date]], _: pytest.FixtureRequest) -> None:
    """Sorts all ranges at once, each in a process with a data folder of its own."""
    processes = []
    for place, days in enumerate(ranges):
        folder = desk.folder.with_name(f"{desk.folder.name}-{place}")
        folder.mkdir()
        processes.append(desk.start(*sorting(*days), folder=folder, TICKETS_DATA_DIR=str(folder)))
    codes = [process.wait(1200) for process in processes]
    assert codes == [0] * RANGES, [process.output() for process in processes]


def in_containers(
    desk: Desk, ranges: list[tuple[date, date]], request: pytest.FixtureRequest
) -> None:
    """Sorts all ranges at once, each in a container that has nothing but what it is told."""
    engine: Containers = request.getfixturevalue("containers")
    image = request.getfixturevalue("product_image")
    password, place = desk.environment["TICKETS_WAREHOUSE_PASSWORD_FILE"], "/run/secrets/warehouse"
    settings = {
        name: value
        for name, value in desk.environment.items()
        if name.startswith("TICKETS_") and name != "TICKETS_DATA_DIR"
    }
    options = [
        *(*HARDENED, "--user", "23456:0", "--network", "host"),
        *("--tmpfs", "/var/lib/ticket-assets:rw,mode=1777,notmpcopyup"),
        *("--volume", f"{password}:{place}:ro"),
    ]
    for name, value in (settings | {"TICKETS_WAREHOUSE_PASSWORD_FILE": place}).items():
        options += ["--env", f"{name}={value}"]
    started = [engine.start(image, "tickets", *sorting(*days), options=options) for days in ranges]
    codes = [engine.podman("wait", container.name).stdout.strip() for container in started]
    assert codes == ["0"] * RANGES, [container.log()[-2000:] for container in started]


@pytest.fixture(scope="module", params=[in_processes, in_containers])
def by_four(request, new_desk, mailbox, by_one) -> Desk:
    """A desk with the same mail and champion, after four have sorted it at once."""
    desk = new_desk()
    desk.tickets("import", mailbox.mailbox, "--labels", mailbox.labels)
    desk.tickets("run", "--only", "ticket_labels")
    models = by_one.desk().files.under("models")
    desk.desk().files.under("models").write(
        (blob.name, models.read(blob.name)) for blob in models.list()
    )
    days = sorted(desk.desk().landing.days())
    each = len(days) // RANGES
    firsts = [days[place * each] for place in range(RANGES)]
    lasts = [*(first - timedelta(days=1) for first in firsts[1:]), days[-1]]
    request.param(desk, list(zip(firsts, lasts, strict=True)), request)
    return desk


def test_they_were_at_work_at_once_and_none_failed(by_four: Desk) -> None:
    runs = by_four.runs("classify_mail")

    assert [run.dagster_run.status for run in runs] == [dg.DagsterRunStatus.SUCCESS] * RANGES
    assert max(run.start_time for run in runs) < min(run.end_time for run in runs)


@pytest.mark.parametrize("table", ["raw_tickets", "clean_tickets", "ticket_predictions"])
def test_no_row_is_lost_or_doubled(by_one: Desk, by_four: Desk, table: str) -> None:
    query = f"select ticket_id from {table} order by all"  # noqa: S608

    tickets = by_four.rows(query)

    assert tickets == by_one.rows(query)
    assert len(tickets) == len(set(tickets)) > 300


def test_the_collection_holds_every_ticket_once(by_one: Desk, by_four: Desk) -> None:
    (encoder,) = by_one.rows("select distinct model from ticket_embeddings")[0]
    embedded = {ticket for (ticket,) in by_one.rows("select ticket_id from ticket_embeddings")}

    with by_four.desk().collection(str(encoder)) as collection:
        assert collection.count() == len(embedded)
        assert collection.ids() == embedded


def test_every_ticket_is_sorted_as_one_run_sorts_it(by_one: Desk, by_four: Desk) -> None:
    ours, theirs = by_four.predictions(), by_one.predictions()

    for column in LABELS:
        assert ours[column].tolist() == theirs[column].tolist(), column
    for column in CONFIDENCES:
        # Vectors differ in their last bits where a text was encoded beside others.
        assert ours[column].tolist() == pytest.approx(theirs[column].tolist(), abs=1e-5), column


def test_a_run_completes_what_a_day_takes_from_earlier_days(by_one: Desk, by_four: Desk) -> None:
    """Conversations, duplicates and the nearest past tickets, which reach over the ranges."""
    by_four.tickets("run")
    by_four.tickets("run", "--only", "ticket_predictions")

    ours, theirs = by_four.tables(), by_one.tables()
    for table in ("raw_tickets", "rejected_messages", "clean_tickets", "ticket_labels"):
        assert ours[table] == theirs[table], table
    assert nearest(by_four) == nearest(by_one)
    for column in HELD:
        assert by_four.predictions()[column].tolist() == by_one.predictions()[column].tolist()
    assert "Nothing new" in by_four.tickets("run")


def nearest(desk: Desk) -> list[set[str]]:
    """The ids of the nearest tickets of each."""
    return [
        {neighbour["ticket_id"] for neighbour in json.loads(of_ticket)}
        for of_ticket in desk.predictions()["nearest"]
    ]
