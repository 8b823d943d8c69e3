"""The whole graph, materialised for real: sample mailbox, encoder, DuckDB, Chroma, model store.

The runs follow each other on one desk: everything, everything again, then one day with late mail.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.services.warm_processes import WarmProcess, warm_processes
from ticket_assets.classification.promotion import read_candidate
from ticket_assets.defs.audit import AUDITS
from ticket_assets.defs.jobs import classify_mail
from ticket_assets.desk import Desk
from ticket_assets.drift.evidently_server import snapshot_address
from ticket_assets.drift.store import HTML
from ticket_assets.mail.importing import import_path
from ticket_assets.mail.landed_days import day_fingerprint
from ticket_assets.mail.landing import IncomingMessage, Label
from ticket_assets.orchestration.instance import desk_instance
from ticket_assets.orchestration.runs import RunError, materialise
from ticket_assets.planning.recipe import recipe
from ticket_assets.routing import load_routing
from ticket_assets.run_summary import RunSummary
from ticket_assets.sample.mailbox import SampleMail, generate, write_mailbox
from ticket_assets.settings import Settings
from ticket_assets.storage.collection import TicketCollection
from ticket_assets.storage.day_origins import read_origins
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.vectors import to_matrix
from ticket_assets.storage.warehouse import DuckDBFile

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).parents[2]
MAIL_DAYS = 20
FIRST = date(2025, 6, 1)
LAST = date(2025, 6, 21)
"""The sample's last mail is of the day before: this one has none."""
LATE = date(2025, 6, 5)
DAYS = [FIRST + timedelta(days=number) for number in range(MAIL_DAYS + 1)]
DAILY_TABLES = {
    name: table
    for name, table in TABLES.items()
    if table.partition_column and name != "delivered_tickets"  # nobody is told anything here
}
WHOLE_ASSETS = {
    "ticket_labels",
    "candidate_classifier",
    "suspected_label_errors",
    "ticket_classifier",
    "threshold_simulation",
    "suspended_labels",
    "review_queue",
}


@dataclass(frozen=True)
class Run:
    """A run, and what there was when it had ended."""

    summary: RunSummary
    metadata: Mapping[str, Mapping[str | None, Mapping[str, Any]]]
    """By asset and partition (None for an asset without)."""
    checks: Mapping[str, frozenset[str | None]]
    """By check the days that it has a verdict on (None for a check of no day)."""
    tables: Mapping[str, pa.Table]
    collected: frozenset[str]
    champion: str


@pytest.fixture(scope="module")
def mails() -> list[SampleMail]:
    return list(generate(messages=400, days=MAIL_DAYS, until=DAYS[MAIL_DAYS - 1]))


@pytest.fixture(scope="module")
def desk(
    product_settings: Settings,
    mails: list[SampleMail],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Settings]:
    """The settings of a desk whose mail and labels have landed."""
    sample = write_mailbox(tmp_path_factory.mktemp("sample"), mails)
    routing = load_routing(None)
    imported = import_path(
        Desk(product_settings).landing,
        sample.mailbox,
        categories=routing.categories,
        priorities=routing.priorities,
        labels_path=sample.labels,
    )
    assert imported.landed == 400
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("DAGSTER_HOME", raising=False)
        yield product_settings


@pytest.fixture(scope="module")
def first_run(desk: Settings) -> Run:
    return run(desk, FIRST, LAST)


@pytest.fixture(scope="module")
def second_run(desk: Settings, first_run: Run) -> Run:
    return run(desk, FIRST, LAST)


LATE_MAIL = (
    b"From: Ann Late <ann@example.com>\nTo: desk@example.com\nMessage-ID: <late@example.com>\n"
    b"Date: Thu, 5 Jun 2025 23:59:59 +0000\nSubject: Printer tray\n\n"
    b"The printer on the second floor does not pull paper from its lower tray any more.\n"
)
LATE_ID = hashlib.sha256(LATE_MAIL).hexdigest()[:20]


@pytest.fixture(scope="module")
def late_run(desk: Settings, second_run: Run) -> Run:
    Desk(desk).landing.land(
        [
            IncomingMessage(
                content=LATE_MAIL,
                extension="eml",
                source="eml:late.eml",
                received_at=datetime(2025, 6, 5, 23, 59, 59, tzinfo=UTC),
                received_at_source="date",
                message_id="late@example.com",
            )
        ]
    )
    return run(desk, LATE, LATE)


def run(desk: Settings, first: date, last: date) -> Run:
    summary = materialise(first, last)
    metadata: dict[str, dict[str | None, dict[str, Any]]] = {}
    with desk_instance(desk.data_dir) as instance:
        for record in instance.get_records_for_run(summary.run_id).records:
            event = record.event_log_entry.dagster_event
            if event and event.event_type_value == "ASSET_MATERIALIZATION":
                made = event.step_materialization_data.materialization
                metadata.setdefault(made.asset_key.to_user_string(), {})[made.partition] = {
                    name: value.value for name, value in made.metadata.items()
                }
        checks: dict[str, frozenset[str | None]] = {}
        for record in instance.get_records_for_run(
            summary.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION
        ).records:
            evaluation = record.event_log_entry.dagster_event.asset_check_evaluation_data
            judged = checks.get(evaluation.check_name, frozenset())
            checks[evaluation.check_name] = judged | {evaluation.partition}
    champion = Desk(desk).models.require_champion()
    with TicketCollection.open(champion.encoder, folder=desk.collection_dir) as collection:
        collected = frozenset(collection.ids())
    warehouse = DuckDBFile(desk.warehouse_path)
    with warehouse.connect() as connection:
        tables = {
            name: connection.table(f"{SCHEMA}.{name}").order("ALL").to_arrow_table()
            for name in warehouse.tables()
        }
    return Run(summary, metadata, checks, tables, collected, champion.version)


def per_day(table: pa.Table) -> dict[str, int]:
    """Rows of each day, days without rows included."""
    received = [moment.date() for moment in table["received_at"].to_pylist()]
    return {day.isoformat(): received.count(day) for day in DAYS}


def values(table: pa.Table, *columns: str) -> list[tuple[Any, ...]]:
    return list(zip(*(table[column].to_pylist() for column in columns), strict=True))


def test_the_whole_graph_succeeds_for_all_days_in_one_run(product: dg.Definitions, first_run: Run):
    summary = first_run.summary

    assert summary.success, summary.failed_steps
    assert not summary.skipped
    assert [check for check in summary.failed_checks if check.blocking] == []
    assert set(summary.materialised) == {
        key.to_user_string() for key in product.resolve_asset_graph().materializable_asset_keys
    }


def test_every_asset_is_materialised_for_every_day(desk: Settings, first_run: Run):
    keys = {day.isoformat() for day in DAYS}

    with desk_instance(desk.data_dir) as instance:
        for asset in set(first_run.summary.materialised) - WHOLE_ASSETS:
            assert instance.get_materialized_partitions(dg.AssetKey(asset)) == keys, asset

    assert set(first_run.metadata) == set(first_run.summary.materialised)
    for asset, partitions in first_run.metadata.items():
        assert set(partitions) == ({None} if asset in WHOLE_ASSETS else keys), asset


def test_the_page_of_the_drift_report_shows_the_latest_day_with_mail(
    desk: Settings, first_run: Run
):
    with desk_instance(desk.data_dir) as instance:
        latest = instance.get_latest_materialization_event(dg.AssetKey("drift_report"))

    shown = latest.asset_materialization
    assert shown.partition == LAST.isoformat()
    assert shown.metadata["latest_day_with_mail"].value == DAYS[-2].isoformat()
    with_mail = first_run.metadata["drift_report"][DAYS[-2].isoformat()]
    assert shown.metadata["figures"].value == with_mail["figures"]
    assert shown.metadata["report"].value == with_mail["report"]
    address = snapshot_address(desk.evidently_url, DAYS[-2])
    assert shown.metadata["evidently"].value == with_mail["evidently"] == address


def test_every_check_of_what_is_made_by_day_has_a_verdict_on_each_day(
    product: dg.Definitions, first_run: Run, late_run: Run
):
    keys = product.resolve_asset_graph().asset_check_keys
    checks = set(keys) - {audit.check_key for audit in AUDITS}
    whole = {key.name for key in checks if key.asset_key.to_user_string() in WHOLE_ASSETS}
    days = frozenset(day.isoformat() for day in DAYS)

    assert first_run.checks == {
        key.name: frozenset({None}) if key.name in whole else days for key in checks
    }
    assert set(late_run.checks.values()) == {frozenset({None}), frozenset({LATE.isoformat()})}


def test_the_warehouse_holds_the_declared_tables_and_no_other(first_run: Run):
    assert set(first_run.tables) == {
        "raw_tickets",
        "rejected_messages",
        "clean_tickets",
        "ticket_labels",
        "ticket_embeddings",
        "suspected_label_errors",
        "ticket_predictions",
        "threshold_simulation",
        "suspended_labels",
        "review_queue",
        "drift_metrics",
        "day_origins",
        "schema_version",
    }
    for name in first_run.tables.keys() & TABLES.keys():
        assert tuple(first_run.tables[name].column_names) == TABLES[name].column_names


def test_every_message_is_a_ticket_or_a_rejection(mails: list[SampleMail], first_run: Run):
    raw, rejected = first_run.tables["raw_tickets"], first_run.tables["rejected_messages"]
    broken = sum(mail.group == "broken" for mail in mails)

    assert raw.num_rows + rejected.num_rows == len(mails) == 400
    assert rejected.num_rows == broken == 2
    sent = sorted(mail.received_at.date() for mail in mails if mail.group != "broken")
    assert sorted(moment.date() for moment in raw["received_at"].to_pylist()) == sent


def test_automatic_replies_are_no_tickets(mails: list[SampleMail], first_run: Run):
    raw, clean = first_run.tables["raw_tickets"], first_run.tables["clean_tickets"]
    requests = {ticket for ticket, kind in values(raw, "ticket_id", "kind") if kind == "request"}

    assert set(clean["ticket_id"].to_pylist()) == requests
    assert raw.num_rows - clean.num_rows == sum(mail.group == "auto_reply" for mail in mails) > 0


def test_every_clean_ticket_has_a_vector_of_unit_length(first_run: Run):
    clean, stored = first_run.tables["clean_tickets"], first_run.tables["ticket_embeddings"]

    vectors = to_matrix(stored["vector"])

    assert sorted(values(stored, "ticket_id", "text_hash")) == sorted(
        values(clean, "ticket_id", "text_hash")
    )
    assert vectors.shape == (clean.num_rows, 384)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_the_collection_holds_the_ids_of_the_table(first_run: Run):
    assert first_run.collected == set(
        first_run.tables["ticket_embeddings"]["ticket_id"].to_pylist()
    )


def test_the_labels_that_people_gave_stand_with_their_tickets(
    mails: list[SampleMail], first_run: Run
):
    labels = {
        ticket: (category, priority)
        for ticket, category, priority in values(
            first_run.tables["ticket_labels"], "ticket_id", "category", "priority"
        )
    }
    given = {mail.message_id: (mail.category, mail.priority) for mail in mails if mail.labelled}

    stored = {
        message: labels[ticket]
        for ticket, message in values(first_run.tables["raw_tickets"], "ticket_id", "message_id")
        if ticket in labels
    }

    assert len(given) == 280
    assert stored == given


def test_the_first_candidate_becomes_the_champion(desk: Settings, first_run: Run):
    (candidate,) = first_run.metadata["candidate_classifier"].values()
    (champion,) = first_run.metadata["ticket_classifier"].values()

    assert champion["version"] == candidate["version"] == first_run.champion
    assert candidate["already_trained"] is False
    assert champion["former_version"] == ""
    assert read_candidate(Desk(desk).models).version == first_run.champion


def test_who_reviews_a_ticket_sees_the_words_behind_its_category(first_run: Run):
    rows = values(first_run.tables["ticket_predictions"], "ticket_id", "model_decision", "terms")
    texts = dict(values(first_run.tables["clean_tickets"], "ticket_id", "text"))
    review = {ticket: json.loads(terms) for ticket, decision, terms in rows if decision == "review"}

    assert review
    assert all(terms is None for _, decision, terms in rows if decision == "auto")
    for ticket, terms in review.items():
        assert all(word.split()[0] in texts[ticket].lower() for word, _ in terms)
        assert [weight for _, weight in terms] == sorted((w for _, w in terms), reverse=True)
    assert sum(map(bool, review.values())) > len(review) / 2


def test_every_clean_ticket_is_sent_to_a_queue_of_the_routing(first_run: Run):
    routing = load_routing(None)
    predictions = first_run.tables["ticket_predictions"]

    assert predictions["ticket_id"].to_pylist() == (
        first_run.tables["clean_tickets"]["ticket_id"].to_pylist()
    )
    decided = values(predictions, "category", "decision", "queue")
    assert {decision for _, decision, _ in decided} <= {"auto", "review", "labelled"}
    assert [queue for _, _, queue in decided] == [
        routing.review_queue if decision == "review" else routing.queues[category]
        for category, decision, _ in decided
    ]
    assert set(predictions["model_version"].to_pylist()) == {first_run.champion}


def test_tickets_for_a_person_say_why_and_name_the_likely_categories(first_run: Run):
    predictions = first_run.tables["ticket_predictions"]
    routing = load_routing(None)

    for decision, reason, likely, category in values(
        predictions, "model_decision", "review_reason", "likely", "model_category"
    ):
        assert (reason in {None, "audit"}) == (decision == "auto")
        if likely is not None:
            assert reason in {"unsure", "always_reviewed", "audit"}
            labels = json.loads(likely)
            assert labels[0] == category
            assert 1 <= len(labels) <= 3
            assert set(labels) <= set(routing.categories)
    assert {"unsure", "always_reviewed"} & set(predictions["review_reason"].to_pylist())


def test_what_waits_for_a_person_is_a_table_and_a_csv_to_fill_in(desk: Settings, first_run: Run):
    queue = first_run.tables["review_queue"].to_pandas().sort_values("rank")

    assert queue["rank"].tolist() == list(range(1, len(queue) + 1))
    assert not set(queue["reason"]) & {"audit", "suspended", None}
    waiting = {
        ticket
        for ticket, decision in values(
            first_run.tables["ticket_predictions"], "ticket_id", "decision"
        )
        if decision == "review"
    }
    assert set(queue["ticket_id"]) == waiting
    assert first_run.metadata["review_queue"][None]["dagster/row_count"] == len(queue) > 0
    assert (desk.data_dir / "reports" / "review_queue.csv").exists()


def test_learnt_tickets_are_labelled_and_the_models_answer_is_out_of_fold(
    desk: Settings, first_run: Run
):
    learnt = Desk(desk).models.load_trained(first_run.champion).training_tickets
    rows = values(first_run.tables["ticket_predictions"], "ticket_id", "decision", "model_category")
    of_learnt = {ticket: how for ticket, *how in rows if ticket in set(learnt["ticket_id"])}

    assert of_learnt == {
        ticket: ["labelled", category]
        for ticket, category in zip(learnt["ticket_id"], learnt["category"], strict=True)
    }
    labels = dict(values(first_run.tables["ticket_labels"], "ticket_id", "category"))
    assert any(labels[ticket] != category for ticket, (_, category) in of_learnt.items())


def test_the_nearest_tickets_are_labelled_ones_of_earlier_days(first_run: Run):
    labels = first_run.tables["ticket_labels"]
    category_of = dict(values(labels, "ticket_id", "category"))
    predictions = first_run.tables["ticket_predictions"]

    for received_at, nearest in values(predictions, "received_at", "nearest"):
        near = json.loads(nearest)
        assert len(near) == 5 or received_at.date() == FIRST
        assert all(date.fromisoformat(one["day"]) < received_at.date() for one in near)
        assert all(category_of[one["ticket_id"]] == one["category"] for one in near)
        similarities = [one["similarity"] for one in near]
        assert similarities == sorted(similarities, reverse=True)


def test_every_day_with_mail_has_drift_figures_and_every_day_a_report(
    desk: Settings, first_run: Run
):
    figures = first_run.tables["drift_metrics"]
    per_metric = per_day(figures)

    # Of the day alone, and of its week once that has more mail.
    assert set(per_metric.values()) == {8, 16, 0}
    assert [day for day, rows in per_metric.items() if not rows] == [LAST.isoformat()]
    assert Desk(desk).reports.days() == DAYS
    assert len(Desk(desk).reports.read(f"{DAYS[-2]}/{HTML}")) > 100_000
    assert set(figures["model_version"].to_pylist()) == {first_run.champion}


@pytest.mark.parametrize("name", DAILY_TABLES)
def test_the_rows_that_each_day_reports_are_the_rows_of_the_table(first_run: Run, name: str):
    reported = {
        day: metadata["dagster/partition_row_count"]
        for day, metadata in first_run.metadata[name].items()
    }

    assert reported == per_day(first_run.tables[name])
    assert sum(reported.values()) == first_run.tables[name].num_rows


def test_a_day_without_mail_is_an_empty_partition(first_run: Run):
    empty = LAST.isoformat()

    for name in DAILY_TABLES:
        assert first_run.metadata[name][empty]["dagster/partition_row_count"] == 0
        assert per_day(first_run.tables[name])[empty] == 0


def test_a_day_shows_its_own_figures_and_not_those_of_the_run(first_run: Run):
    predictions = first_run.tables["ticket_predictions"]
    languages = values(first_run.tables["clean_tickets"], "received_at", "language")
    for day in DAYS:
        decisions = [
            decision
            for received_at, decision in values(predictions, "received_at", "model_decision")
            if received_at.date() == day
        ]
        of_day = [language for received_at, language in languages if received_at.date() == day]

        predicted = first_run.metadata["ticket_predictions"][day.isoformat()]
        cleaned = first_run.metadata["clean_tickets"][day.isoformat()]

        automatic = decisions.count("auto")
        assert predicted["auto_share"] == (automatic / len(decisions) if decisions else 0)
        assert predicted["queues"].count("\n") == 1 + len(
            {
                queue
                for received_at, queue in values(predictions, "received_at", "queue")
                if received_at.date() == day
            }
        )
        assert set(cleaned["languages"].splitlines()[2:]) == {
            f"| {language} | {of_day.count(language)} |" for language in of_day
        }


def test_a_second_run_encodes_and_sends_nothing(first_run: Run, second_run: Run):
    texts = first_run.tables["clean_tickets"].num_rows
    once = first_run.metadata["ticket_embeddings"][FIRST.isoformat()]
    again = second_run.metadata["ticket_embeddings"][FIRST.isoformat()]
    sent = second_run.metadata["ticket_collection"][FIRST.isoformat()]

    assert second_run.summary.success
    assert once["run_texts_encoded"] >= once["vectors_made"] > 0
    assert (again["run_texts_encoded"], again["vectors_made"]) == (0, 0)
    assert again["vectors_looked_up"] == again["dagster/partition_row_count"]
    assert (sent["run_upserted"], sent["run_relabelled"], sent["run_deleted"]) == (0, 0, 0)
    assert sent["run_unchanged"] == sent["tickets_in_collection"] == texts


def test_a_second_run_learns_nothing_twice(first_run: Run, second_run: Run):
    (candidate,) = second_run.metadata["candidate_classifier"].values()

    assert candidate["already_trained"] is True
    assert second_run.champion == first_run.champion


def test_a_second_run_leaves_the_same_tables(first_run: Run, second_run: Run):
    assert second_run.tables.keys() == first_run.tables.keys()
    for name, table in first_run.tables.items():
        assert second_run.tables[name].equals(table), name


def test_predictions_are_recorded_as_made_from_what_has_landed_by_the_champion(desk, late_run):
    landing = Desk(desk).landing

    origins = read_origins(DuckDBFile(desk.warehouse_path), "ticket_predictions")

    assert {day: origin.landed for day, origin in origins.items()} == {
        day: day_fingerprint(landing, day) for day in DAYS
    }
    assert {origin.recipe for origin in origins.values()} == {recipe(Desk(desk))}
    assert {origin.model_version for origin in origins.values()} == {late_run.champion}
    shown = late_run.metadata["ticket_predictions"][LATE.isoformat()]
    assert shown["landed_fingerprint"] == origins[LATE].landed
    assert shown["model_version"] == late_run.champion


def test_late_mail_appears_when_its_day_is_materialised_again(second_run: Run, late_run: Run):
    assert late_run.summary.success, late_run.summary.failed_steps
    for name in ("raw_tickets", "clean_tickets", "ticket_embeddings", "ticket_predictions"):
        before = set(second_run.tables[name]["ticket_id"].to_pylist())
        after = set(late_run.tables[name]["ticket_id"].to_pylist())
        assert after - before == {LATE_ID}, name
        assert not before - after, name
    assert late_run.collected - second_run.collected == {LATE_ID}
    assert late_run.metadata["ticket_embeddings"][LATE.isoformat()]["vectors_made"] == 1
    assert late_run.metadata["ticket_collection"][LATE.isoformat()]["run_upserted"] == 1
    assert late_run.champion == second_run.champion


def test_a_run_of_one_day_is_about_that_day_alone(late_run: Run):
    for asset, partitions in late_run.metadata.items():
        assert set(partitions) == ({None} if asset in WHOLE_ASSETS else {LATE.isoformat()})


@pytest.mark.parametrize("name", DAILY_TABLES)
def test_a_run_of_one_day_leaves_the_rows_of_the_others(second_run: Run, late_run: Run, name: str):
    def others(table: pa.Table) -> pa.Table:
        return table.filter(
            pa.array([moment.date() != LATE for moment in table["received_at"].to_pylist()])
        )

    untouched = others(late_run.tables[name])

    assert untouched.num_rows > 0
    assert untouched.equals(others(second_run.tables[name]))


def test_what_people_say_later_holds_and_the_models_answer_stays(desk: Settings, late_run: Run):
    answers = ["category_confidence", "model_category", "model_decision", "review_reason", "terms"]
    held = ["category", "priority", "decision", "priority_decision", "decided_by", "queue"]

    def predictions() -> pd.DataFrame:
        rows = DuckDBFile(desk.warehouse_path).frame("from ticket_predictions order by ticket_id")
        return rows.set_index("ticket_id").astype(object)

    def label(*given: str | None) -> pd.Series:
        label = Label(*given, datetime.now(UTC), "Ann", ticket_id=LATE_ID, message_id=None)
        Desk(desk).landing.land_labels([label])
        assert materialise(LAST, LAST, ["ticket_labels"]).success
        now = predictions()
        assert now.drop(LATE_ID).equals(before.drop(LATE_ID))
        assert now.loc[LATE_ID, answers].equals(before.loc[LATE_ID, answers])
        return now.loc[LATE_ID, held]

    before = predictions()
    assert before.loc[LATE_ID, "decided_by"] == "model"
    assert label("network", None)[["category", "decision", "decided_by", "queue"]].tolist() == (
        ["network", "labelled", "person", load_routing(None).queues["network"]]
    )
    decided = ["printing", "high", "labelled", "labelled", "person"]
    assert label("printing", "high").tolist() == [*decided, load_routing(None).queues["printing"]]
    with_labels = predictions()
    labelled = set(late_run.tables["ticket_labels"]["ticket_id"].to_pylist()) | {LATE_ID}
    is_labelled = with_labels.index.isin(labelled)
    assert (with_labels["decision"] == "labelled").tolist() == is_labelled.tolist()

    assert materialise(LATE, LATE, ["ticket_predictions"]).success

    assert predictions().equals(with_labels)


REPLY = (
    b"From: Ann Late <ann@example.com>\nTo: desk@example.com\nMessage-ID: <reply@example.com>\n"
    b"In-Reply-To: <late@example.com>\nDate: Fri, 6 Jun 2025 23:59:59 +0000\n"
    b"Subject: Re: Printer tray\n\nAny news? Thanks.\n"
)
REPLY_ID = hashlib.sha256(REPLY).hexdigest()[:20]


def test_a_reply_of_a_later_day_keeps_what_holds_for_its_first_ticket(
    desk: Settings, late_run: Run
):
    def label(category: str) -> None:
        label = Label(category, None, datetime.now(UTC), "Ann", ticket_id=LATE_ID, message_id=None)
        Desk(desk).landing.land_labels([label])
        assert materialise(LAST, LAST, ["ticket_labels"]).success

    def decided() -> tuple[Any, ...]:
        return DuckDBFile(desk.warehouse_path).row(
            "select model_decision, category, decision, decided_by, queue from ticket_predictions"
            " where ticket_id = ?",
            [REPLY_ID],
        )

    label("email")
    day = LATE + timedelta(days=1)
    landed = IncomingMessage(
        content=REPLY, extension="eml", source="eml:reply.eml", received_at_source="date",
        received_at=datetime(2025, 6, 6, 23, 59, 59, tzinfo=UTC), message_id="reply@example.com",
    )  # fmt: skip
    Desk(desk).landing.land([landed])

    assert materialise(day, day, job_name=classify_mail.name).success

    queues = load_routing(None).queues
    assert decided() == ("review", "email", "auto", "conversation", queues["email"])
    label("network")
    assert decided() == ("review", "network", "auto", "conversation", queues["network"])


@pytest.mark.parametrize(
    ("first", "last", "assets", "why"),
    [
        (date(2025, 5, 31), LAST, (), "2025-05-31 is not a processed day"),
        (FIRST, date(2999, 1, 1), (), "2999-01-01 is not a processed day"),
        (LAST, FIRST, (), "comes after the last day"),
        (FIRST, FIRST, ("coffee",), "There is no asset coffee"),
    ],
)
@pytest.mark.usefixtures("desk")
def test_a_run_of_what_does_not_exist_is_refused(
    first: date, last: date, assets: tuple[str, ...], why: str
):
    with pytest.raises(RunError, match=why):
        materialise(first, last, assets)


def land(desk: Settings, received_at: datetime, text: str) -> None:
    Desk(desk).landing.land(
        [
            IncomingMessage(
                content=f"From: ann@example.com\nSubject: {text}\n\n{text}, please".encode(),
                extension="eml",
                source="test",
                received_at=received_at,
                received_at_source="date",
                message_id=None,
            )
        ]
    )


@pytest.mark.usefixtures("first_run")
def test_runs_for_different_days_at_once_while_mail_lands_fail_no_check(
    desk: Settings, product_environment: dict[str, str], tmp_path: Path
):
    def command(first: date, last: date) -> WarmProcess:
        days = ["--from", first.isoformat(), "--to", last.isoformat()]
        return warm_processes().start(
            ["tickets", "run", "--job", "classify_mail", *days],
            product_environment,
            tmp_path,
            tmp_path / f"{first}.log",
        )

    commands = [command(DAYS[2], DAYS[4]), command(DAYS[8], DAYS[9])]
    landed = 0
    while any(running.exit_code() is None for running in commands):
        for day in (DAYS[3], DAYS[6], DAYS[9]):
            noon = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
            land(desk, noon + timedelta(seconds=landed), f"Printer number {landed} is on fire")
            landed += 1
        time.sleep(0.2)

    assert landed > 3
    for running in commands:
        output = running.output()
        assert running.exit_code() == 0, output
        assert "failed" not in output
