"""What each asset check lets pass and what it stops, on tables that hold just that."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from tests.slow_cases import slow
from ticket_assets.classification.comparison import Comparison
from ticket_assets.classification.promotion import Candidate, write_candidate
from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.defs import partitions
from ticket_assets.defs.candidate_classifier import (
    candidate_beats_the_majority,
    candidate_is_not_worse_than_the_champion,
    candidate_reaches_the_floor,
)
from ticket_assets.defs.clean_tickets import (
    languages_are_known,
    no_personal_data_is_left,
    no_text_is_empty,
)
from ticket_assets.defs.drift_report import (
    drift_is_within_bounds,
    realised_precision_is_within_target,
)
from ticket_assets.defs.raw_tickets import (
    received_dates_are_inside_the_partition,
    rejected_share_is_low,
    ticket_ids_are_unique,
)
from ticket_assets.defs.ticket_collection import (
    a_vector_finds_itself,
    collection_has_the_ids_of_the_table,
)
from ticket_assets.defs.ticket_embeddings import (
    every_clean_ticket_has_one_vector,
    vectors_are_finite_and_of_unit_length,
    vectors_come_from_one_encoder,
    vectors_have_the_encoders_dimension,
)
from ticket_assets.defs.ticket_labels import labels_are_configured
from ticket_assets.defs.ticket_predictions import (
    auto_share_is_high,
    every_clean_ticket_has_one_prediction,
    labels_hold,
    predictions_are_in_the_label_set,
)
from ticket_assets.desk import Desk
from ticket_assets.drift.estimated_precision import ENOUGH_AUDITS
from ticket_assets.embedding.token_scores import ScoredTokens, TokenScores
from ticket_assets.mail.landing import IncomingMessage
from ticket_assets.metrics.model import realised_families
from ticket_assets.settings import Settings
from ticket_assets.storage.collection import TicketCollection
from ticket_assets.text.secret_passages import secret_passages

FIRST = datetime(2025, 6, 1, 12)
SECOND = datetime(2025, 6, 2, 12)
FIRST_DAY = {"dagster/partition": "2025-06-01"}
SECOND_DAY = {"dagster/partition": "2025-06-02"}
BOTH_DAYS = {
    "dagster/asset_partition_range_start": "2025-06-01",
    "dagster/asset_partition_range_end": "2025-06-02",
}
MODEL = "all-minilm-l6-v2@1"


@pytest.fixture
def put(settings: Settings, fill: Callable[..., None]) -> Callable[..., None]:
    """Puts rows into a table of the test's own warehouse; received on the first day by default."""

    def append(table: str, *rows: dict[str, Any], vector_length: int | None = None) -> None:
        fill(settings, table, [{"received_at": FIRST, **row} for row in rows], vector_length)

    return append


@pytest.fixture(scope="module")
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def verdicts(settings: Settings, instance: dg.DagsterInstance) -> "Verdicts":
    """The evaluations of a check in a run with these tags, by day, as Dagster makes them; a failure
    of a blocking check fails the run."""

    def evaluate(
        check: dg.AssetChecksDefinition, tags: dict[str, str], **changed: Any
    ) -> dict[str | None, dg.AssetCheckEvaluation]:
        definitions = dg.Definitions(
            asset_checks=[check],
            jobs=[dg.define_asset_job("one_check", dg.AssetSelection.checks(check))],
            resources={"desk": Desk(settings.model_copy(update=changed))},
        )
        run = definitions.resolve_job_def("one_check").execute_in_process(
            instance=instance, tags=tags, raise_on_error=False
        )
        evaluations = run.get_asset_check_evaluations()
        stops = any(
            not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
            for evaluation in evaluations
        )
        assert run.success is not stops
        return {evaluation.partition: evaluation for evaluation in evaluations}

    return evaluate


@pytest.fixture
def verdict(verdicts: "Verdicts") -> "Verdict":
    """The evaluation of a check in a run of one day, the first by default."""

    def evaluate(
        check: dg.AssetChecksDefinition, tags: dict[str, str] = FIRST_DAY, **changed: Any
    ) -> dg.AssetCheckEvaluation:
        (evaluation,) = verdicts(check, tags, **changed).values()
        return evaluation

    return evaluate


Put = Callable[..., None]
Verdict = Callable[..., dg.AssetCheckEvaluation]
Verdicts = Callable[..., dict[str | None, dg.AssetCheckEvaluation]]


def figures(evaluation: dg.AssetCheckEvaluation) -> dict[str, Any]:
    return {name: metadata.value for name, metadata in evaluation.metadata.items()}


def unit(*numbers: float) -> list[float]:
    return list(np.array(numbers) / np.linalg.norm(numbers))


# raw_tickets


def test_a_ticket_id_that_stands_twice_is_stopped(put: Put, verdict: Verdict):
    put("raw_tickets", {"ticket_id": "a"}, {"ticket_id": "b"})
    assert verdict(ticket_ids_are_unique).passed

    put("raw_tickets", {"ticket_id": "a"}, {"ticket_id": "a"})
    result = verdict(ticket_ids_are_unique)

    assert not result.passed
    assert figures(result) == {"repeated_ids": 1, "examples": ["a"]}


def land(settings: Settings, *moments: datetime) -> None:
    Desk(settings).landing.land(
        IncomingMessage(
            content=f"Subject: {moment}\n\nHello".encode(),
            extension="eml",
            source="test",
            received_at=moment.replace(tzinfo=UTC),
            received_at_source="date",
            message_id=None,
        )
        for moment in moments
    )


def test_every_landed_message_is_a_ticket_or_a_rejection(
    settings: Settings, put: Put, verdicts: Verdicts
):
    land(settings, FIRST, FIRST.replace(hour=13), SECOND)
    put("raw_tickets", {"received_at": FIRST}, {"received_at": SECOND})
    put("rejected_messages")

    lost = verdicts(received_dates_are_inside_the_partition, BOTH_DAYS)
    put("rejected_messages", {"received_at": FIRST})
    complete = verdicts(received_dates_are_inside_the_partition, BOTH_DAYS)

    assert {day: verdict.passed for day, verdict in lost.items()} == {
        "2025-06-01": False,
        "2025-06-02": True,
    }
    assert figures(lost["2025-06-01"]) == {"landed": 2, "in_the_tables": 1}
    assert [verdict.passed for verdict in complete.values()] == [True, True]
    assert figures(complete["2025-06-01"]) == {"landed": 2, "in_the_tables": 2}


def test_a_message_under_another_date_is_stopped_in_runs_of_either_day(
    settings: Settings, put: Put, verdict: Verdict
):
    land(settings, FIRST, SECOND)
    put("raw_tickets", {"received_at": SECOND}, {"received_at": SECOND})
    put("rejected_messages")

    assert not verdict(received_dates_are_inside_the_partition, FIRST_DAY).passed
    assert not verdict(received_dates_are_inside_the_partition, SECOND_DAY).passed


def test_mail_of_days_outside_the_run_or_before_the_first_day_is_not_missed(
    settings: Settings, put: Put, verdict: Verdict
):
    land(settings, datetime(2025, 5, 31, 12), FIRST, SECOND)
    put("raw_tickets", {"received_at": FIRST})
    put("rejected_messages")

    assert verdict(received_dates_are_inside_the_partition, FIRST_DAY).passed


def test_a_run_that_names_no_day_judges_all_days(
    put: Put, verdicts: Verdicts, monkeypatch: pytest.MonkeyPatch
):
    three_days = dg.DailyPartitionsDefinition("2025-06-01", end_date="2025-06-04")
    monkeypatch.setattr(partitions, "DAILY", three_days)
    put("raw_tickets", {"ticket_id": "a"}, {"ticket_id": "a", "received_at": SECOND})

    by_day = verdicts(ticket_ids_are_unique, {})

    assert {day: verdict.passed for day, verdict in by_day.items()} == {
        "2025-06-01": False,
        "2025-06-02": False,
        "2025-06-03": True,
    }


def test_many_rejected_messages_are_a_warning(put: Put, verdict: Verdict):
    put("raw_tickets", *[{"received_at": FIRST}] * 49, {"received_at": SECOND})
    put("rejected_messages", {"received_at": FIRST}, {"received_at": SECOND})

    at_the_limit = verdict(rejected_share_is_low, FIRST_DAY, rejected_share_limit=0.02)
    above = verdict(rejected_share_is_low, SECOND_DAY, rejected_share_limit=0.02)

    assert at_the_limit.passed
    assert not above.passed
    assert above.severity == dg.AssetCheckSeverity.WARN
    assert figures(above) == {"rejected": 1, "messages": 2, "share": 0.5, "limit": 0.02}


def test_a_day_without_messages_has_no_rejected_share(put: Put, verdict: Verdict):
    put("raw_tickets")
    put("rejected_messages")

    assert verdict(rejected_share_is_low, FIRST_DAY, rejected_share_limit=0.0).passed


# clean_tickets


@pytest.mark.parametrize("text", ["", "   ", None])
def test_an_empty_text_is_stopped(put: Put, verdict: Verdict, text: str | None):
    put("clean_tickets", {"ticket_id": "a", "text": "The printer is on fire"})
    assert verdict(no_text_is_empty).passed

    put("clean_tickets", {"ticket_id": "b", "text": text})
    result = verdict(no_text_is_empty)

    assert not result.passed
    assert figures(result) == {"empty_texts": 1, "examples": ["b"]}


def test_a_language_that_the_desk_does_not_receive_is_stopped(put: Put, verdict: Verdict):
    put("clean_tickets", {"language": "fr"}, {"language": "en"})
    assert verdict(languages_are_known, languages=("fr", "en")).passed

    result = verdict(languages_are_known, languages=("fr",))

    assert not result.passed
    assert figures(result)["unknown"] == ["en"]


def test_a_ticket_without_a_language_is_stopped(put: Put, verdict: Verdict):
    put("clean_tickets", {"language": None})

    assert not verdict(languages_are_known).passed


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("text", "Call me on 01 42 68 53 00 please"),
        ("subject", "Mailbox of jane.doe@example.com"),
        ("tokens", "server 192.168.12.7 down"),
    ],
)
def test_personal_data_left_anywhere_in_a_ticket_is_stopped(
    put: Put, verdict: Verdict, column: str, value: str
):
    clean = {"subject": "VPN", "text": "VPN\nIt drops on [PHONE]", "tokens": "vpn drops"}
    put("clean_tickets", {"ticket_id": "a", "received_at": FIRST, **clean})
    assert verdict(no_personal_data_is_left).passed

    put("clean_tickets", {"ticket_id": "b", "received_at": FIRST, **clean, column: value})
    result = verdict(no_personal_data_is_left)

    assert not result.passed
    assert figures(result)["tickets_with_personal_data"] == 1
    assert list(figures(result)["examples"]) == ["b"]


def test_what_only_looks_like_a_password_is_a_warning(put: Put, verdict: Verdict):
    put("clean_tickets", {"ticket_id": "a", "received_at": FIRST, "text": "Welcome1 my password"})
    result = verdict(no_personal_data_is_left)

    assert not result.passed
    assert result.severity == dg.AssetCheckSeverity.WARN
    assert figures(result)["examples"] == {"a": ["PASSWORD"]}

    put("clean_tickets", {"ticket_id": "b", "received_at": FIRST, "text": "jane@example.com"})

    assert verdict(no_personal_data_is_left).severity == dg.AssetCheckSeverity.ERROR


def test_a_text_is_read_as_it_was_cleaned(put: Put, verdict: Verdict, monkeypatch):
    """So its passages are known to the process that has cleaned it."""
    text = "VPN\nThe docking station no longer charges the probook 450, its ports are dead."
    read, of = [], TokenScores.of

    def recording(self: TokenScores, texts: Sequence[str]) -> list[ScoredTokens]:
        read.extend(texts)
        return of(self, texts)

    monkeypatch.setattr(TokenScores, "of", recording)
    put("clean_tickets", {"ticket_id": "a", "received_at": FIRST, "subject": "VPN", "text": text})

    assert verdict(no_personal_data_is_left).passed

    passages = [text[part.start : part.end] for part in secret_passages(text)]
    assert read == passages != []


def test_words_without_their_sentence_are_no_suspicion(put: Put, verdict: Verdict):
    sentence = "Le papier se froisse. Une autre impression passe. PRN615 signale un bourrage"
    tokens = "papier froisse impression passe prn615 signale bourrage"
    put(
        "clean_tickets",
        {"ticket_id": "a", "received_at": FIRST, "text": sentence, "tokens": tokens},
    )

    assert verdict(no_personal_data_is_left).passed


def test_personal_data_is_looked_for_in_the_days_of_the_run(
    put: Put, verdict: Verdict, verdicts: Verdicts
):
    put(
        "clean_tickets",
        {"ticket_id": "a", "received_at": FIRST, "text": "Nothing"},
        {"ticket_id": "b", "received_at": SECOND, "text": "Write to jane.doe@example.com"},
    )

    assert verdict(no_personal_data_is_left, FIRST_DAY).passed
    assert not verdict(no_personal_data_is_left, SECOND_DAY).passed
    both = verdicts(no_personal_data_is_left, BOTH_DAYS)
    assert [verdict.passed for verdict in both.values()] == [True, False]


# ticket_embeddings


@pytest.mark.slow
def test_every_clean_ticket_needs_a_vector_of_its_present_text(put: Put, verdict: Verdict):
    put("clean_tickets", {"ticket_id": "a", "text_hash": "1"}, {"ticket_id": "b", "text_hash": "2"})
    put("ticket_embeddings", {"ticket_id": "a", "text_hash": "1"})
    missing = verdict(every_clean_ticket_has_one_vector)
    put("ticket_embeddings", {"ticket_id": "b", "text_hash": "2"})
    complete = verdict(every_clean_ticket_has_one_vector)
    put("ticket_embeddings", {"ticket_id": "c", "text_hash": "3"})
    left_over = verdict(every_clean_ticket_has_one_vector)

    assert not missing.passed
    assert figures(missing) == {"clean_tickets": 2, "vectors": 1, "paired": 1}
    assert complete.passed
    assert not left_over.passed


def test_a_vector_of_a_former_text_is_stopped(put: Put, verdict: Verdict):
    put("clean_tickets", {"ticket_id": "a", "text_hash": "new"})
    put("ticket_embeddings", {"ticket_id": "a", "text_hash": "old"})

    assert not verdict(every_clean_ticket_has_one_vector).passed


@pytest.mark.slow
def test_vectors_of_two_encoders_are_stopped(put: Put, verdict: Verdict):
    put("ticket_embeddings")
    assert verdict(vectors_come_from_one_encoder).passed
    put("ticket_embeddings", {"model": "one"}, {"model": "one"})
    assert verdict(vectors_come_from_one_encoder).passed

    put("ticket_embeddings", {"model": "other"})
    result = verdict(vectors_come_from_one_encoder)

    assert not result.passed
    assert figures(result)["encoders"] == {"one": 2, "other": 1}
    assert "Materialise ticket_embeddings for all days" in str(result.description)


@pytest.mark.parametrize(("length", "passed"), [(384, True), (383, False)])
def test_vectors_are_as_long_as_the_encoder_makes_them(
    put: Put, verdict: Verdict, length: int, passed: bool
):
    put("ticket_embeddings", {"vector": [0.1] * length}, vector_length=length)

    result = verdict(vectors_have_the_encoders_dimension)

    assert result.passed is passed
    assert figures(result) == {"expected": 384, "stored": [length]}


@pytest.mark.parametrize(
    "wrong",
    [[0.6, 0.9], [0.0, 0.0], [float("nan"), 1.0], [float("inf"), 0.0]],
    ids=["too long", "zero", "not a number", "infinite"],
)
def test_a_vector_that_is_not_finite_and_of_unit_length_is_stopped(
    put: Put, verdict: Verdict, wrong: list[float]
):
    put("ticket_embeddings", {"vector": [0.6, 0.8]}, {"vector": [1.0, 0.0]}, vector_length=2)
    assert verdict(vectors_are_finite_and_of_unit_length).passed

    put("ticket_embeddings", {"vector": wrong}, vector_length=2)
    result = verdict(vectors_are_finite_and_of_unit_length)

    assert not result.passed
    assert (figures(result)["vectors"], figures(result)["wrong"]) == (3, 1)


def test_a_missing_vector_is_stopped(put: Put, verdict: Verdict):
    put("ticket_embeddings", {"ticket_id": "a"}, vector_length=2)

    assert not verdict(vectors_are_finite_and_of_unit_length).passed


@pytest.mark.slow
def test_a_table_without_vectors_breaks_no_promise(put: Put, verdict: Verdict):
    put("clean_tickets")
    put("ticket_embeddings")

    assert verdict(every_clean_ticket_has_one_vector).passed
    assert verdict(vectors_come_from_one_encoder).passed
    assert verdict(vectors_have_the_encoders_dimension).passed
    assert verdict(vectors_are_finite_and_of_unit_length).passed
    assert verdict(collection_has_the_ids_of_the_table).passed
    assert verdict(a_vector_finds_itself).passed


# ticket_collection

VECTORS = {"a": unit(1, 0, 0), "b": unit(0, 1, 0), "c": unit(0, 0, 1)}


def collect(settings: Settings, vectors: dict[str, list[float]]) -> None:
    """A collection of exactly these tickets."""
    rows = pd.DataFrame({"ticket_id": list(vectors)})
    rows = rows.assign(
        received_at=FIRST, language="en", text_hash="text " + rows["ticket_id"],
        category=None, priority=None,
    )  # fmt: skip
    with TicketCollection.open(MODEL, folder=settings.collection_dir) as collection:
        collection.sync(
            rows, np.array(list(vectors.values()), dtype=np.float32), FIRST.date(), FIRST.date()
        )


@pytest.fixture
def three_tickets(put: Put) -> None:
    put(
        "ticket_embeddings",
        *(
            {
                "ticket_id": name,
                "received_at": FIRST,
                "text_hash": f"text {name}",
                "model": MODEL,
                "vector": vector,
            }
            for name, vector in VECTORS.items()
        ),
        vector_length=3,
    )


@pytest.mark.slow
@pytest.mark.usefixtures("three_tickets")
def test_a_collection_equal_to_the_table_passes(settings: Settings, verdict: Verdict):
    collect(settings, VECTORS)

    assert verdict(collection_has_the_ids_of_the_table).passed
    assert verdict(a_vector_finds_itself).passed


@pytest.mark.slow
@pytest.mark.usefixtures("three_tickets")
def test_a_collection_that_lacks_a_ticket_is_stopped(settings: Settings, verdict: Verdict):
    collect(settings, {name: VECTORS[name] for name in "ab"})

    result = verdict(collection_has_the_ids_of_the_table)

    assert not result.passed
    assert figures(result) == {"table": 3, "collection": 2, "missing": 1, "left_over": 0}
    assert not verdict(a_vector_finds_itself).passed


@pytest.mark.usefixtures("three_tickets")
def test_a_collection_with_a_ticket_too_many_is_stopped(settings: Settings, verdict: Verdict):
    collect(settings, {**VECTORS, "d": unit(1, 1, 1)})

    result = verdict(collection_has_the_ids_of_the_table)

    assert not result.passed
    assert figures(result)["left_over"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "stored", [unit(0.1, 1, 1), unit(1, 0.2, 0)], ids=["far from its own", "near its own"]
)
@pytest.mark.usefixtures("three_tickets")
def test_a_collection_with_another_vector_is_stopped(
    settings: Settings, verdict: Verdict, stored: list[float]
):
    collect(settings, {**VECTORS, "a": stored})

    result = verdict(a_vector_finds_itself)

    assert verdict(collection_has_the_ids_of_the_table).passed
    assert not result.passed
    assert figures(result)["not_found"] == 1


@pytest.mark.usefixtures("three_tickets")
def test_an_empty_collection_beside_a_full_table_is_stopped(verdict: Verdict):
    assert not verdict(collection_has_the_ids_of_the_table).passed
    result = verdict(a_vector_finds_itself)
    assert not result.passed
    assert (figures(result)["queries"], figures(result)["not_found"]) == (3, 3)


# ticket_labels


def test_a_label_that_the_routing_does_not_have_is_stopped(put: Put, verdict: Verdict):
    put(
        "ticket_labels",
        {"category": "access", "priority": "high"},
        {"category": "printing", "priority": None},
        {"category": None, "priority": "low"},
    )
    assert verdict(labels_are_configured).passed

    put("ticket_labels", {"category": "coffee", "priority": "yesterday"})
    result = verdict(labels_are_configured)

    assert not result.passed
    assert figures(result)["unknown"] == {"category": ["coffee"], "priority": ["yesterday"]}


# candidate_classifier


@pytest.fixture
def wait_with(settings: Settings, trained: TrainedClassifier) -> Callable[..., None]:
    """Lets a candidate with these category figures wait for its gates."""

    def save(comparison: Comparison | None = None, **category: float) -> None:
        evaluation = trained.evaluation
        changed = dataclasses.replace(evaluation.targets["category"], **category)
        evaluation = dataclasses.replace(
            evaluation, targets={**evaluation.targets, "category": changed}
        )
        version = Desk(settings).models.save(
            dataclasses.replace(trained, evaluation=evaluation), datetime.now(UTC)
        )
        write_candidate(Desk(settings).models, Candidate(version.version, comparison))

    return save


@pytest.mark.slow
@pytest.mark.parametrize(("low", "passed"), [(0.41, True), (0.40, False), (0.3, False)])
def test_a_candidate_not_surely_better_than_the_majority_is_stopped(
    wait_with: Callable[..., None], verdict: Verdict, low: float, passed: bool
):
    wait_with(macro_f1=0.6, macro_f1_low=low, baseline_macro_f1=0.4)

    result = verdict(candidate_beats_the_majority)

    assert result.passed is passed
    assert figures(result)["category_macro_f1_low"] == low
    assert figures(result)["category_majority_macro_f1"] == 0.4


@pytest.mark.parametrize(("macro_f1", "passed"), [(0.7, True), (0.69, False)])
def test_a_candidate_below_the_floor_is_stopped(
    wait_with: Callable[..., None], verdict: Verdict, macro_f1: float, passed: bool
):
    wait_with(macro_f1=macro_f1)

    result = verdict(candidate_reaches_the_floor, macro_f1_floor=0.7)

    assert result.passed is passed
    assert figures(result) == {"macro_f1": macro_f1, "floor": 0.7}


@pytest.mark.parametrize("not_worse", [True, False])
def test_a_candidate_worse_than_the_champion_is_stopped(
    wait_with: Callable[..., None], verdict: Verdict, not_worse: bool
):
    wait_with(
        Comparison(
            candidate_macro_f1=0.6, champion_macro_f1=0.8, difference=-0.2, low=-0.3,
            high=0.1 if not_worse else -0.1, rows=40, not_worse=not_worse, basis="recent tickets",
        )
    )  # fmt: skip

    result = verdict(candidate_is_not_worse_than_the_champion)

    assert result.passed is not_worse
    assert figures(result)["difference"] == -0.2


def test_the_first_candidate_has_no_champion_to_be_worse_than(
    wait_with: Callable[..., None], verdict: Verdict
):
    wait_with()

    assert verdict(candidate_is_not_worse_than_the_champion).passed


# ticket_predictions


@pytest.mark.slow
def test_every_clean_ticket_of_the_days_needs_a_prediction(
    put: Put, verdict: Verdict, verdicts: Verdicts
):
    put(
        "clean_tickets",
        {"ticket_id": "a", "received_at": FIRST},
        {"ticket_id": "b", "received_at": SECOND},
    )
    put("ticket_predictions", {"ticket_id": "a", "received_at": FIRST})

    assert verdict(every_clean_ticket_has_one_prediction, FIRST_DAY).passed
    assert not verdict(every_clean_ticket_has_one_prediction, SECOND_DAY).passed
    both = verdicts(every_clean_ticket_has_one_prediction, BOTH_DAYS)
    assert [verdict.passed for verdict in both.values()] == [True, False]


@pytest.mark.parametrize("ticket_id", ["a", "c"], ids=["a second one", "of no ticket"])
def test_a_prediction_too_many_is_stopped(put: Put, verdict: Verdict, ticket_id: str):
    put("clean_tickets", {"ticket_id": "a", "received_at": FIRST})
    put(
        "ticket_predictions",
        {"ticket_id": "a", "received_at": FIRST},
        {"ticket_id": ticket_id, "received_at": FIRST},
    )

    assert not verdict(every_clean_ticket_has_one_prediction, FIRST_DAY).passed


SURE = {
    "category": "access",
    "model_category": "network",
    "category_confidence": 0.9,
    "priority": "high",
    "model_priority": "low",
    "priority_confidence": 1.0,
}


@pytest.mark.parametrize(
    "change",
    [
        {"category": "coffee"},
        *slow(
            {"category": None},
            {"model_category": "coffee"},
            {"model_category": None},
            {"priority": "yesterday"},
            {"model_priority": "yesterday"},
            {"category_confidence": 1.1},
            {"category_confidence": float("nan")},
            {"priority_confidence": -0.1},
            {"category_confidence": None},
        ),
    ],
)
def test_a_prediction_that_is_no_label_or_no_probability_is_stopped(
    put: Put, verdict: Verdict, change: dict[str, Any]
):
    without_priority = dict.fromkeys(("priority", "model_priority", "priority_confidence"))
    put("ticket_predictions", SURE, SURE | without_priority)
    assert verdict(predictions_are_in_the_label_set).passed

    put("ticket_predictions", {**SURE, **change})

    assert not verdict(predictions_are_in_the_label_set).passed


def test_few_automatic_decisions_are_a_warning(put: Put, verdicts: Verdicts):
    put(
        "ticket_predictions",
        {"received_at": FIRST, "model_decision": "auto", "decision": "labelled"},
        {"received_at": FIRST, "model_decision": "review"},
        {"received_at": SECOND, "model_decision": "auto"},
        *[{"received_at": SECOND, "model_decision": "review"}] * 3,
    )

    by_day = verdicts(auto_share_is_high, BOTH_DAYS, auto_share_floor=0.5)
    at_the_floor, below = by_day["2025-06-01"], by_day["2025-06-02"]

    assert at_the_floor.passed
    assert not below.passed
    assert below.severity == dg.AssetCheckSeverity.WARN
    assert figures(below) == {"auto": 1, "tickets": 4, "share": 0.25, "floor": 0.5}


def test_a_day_without_tickets_has_no_automatic_share(put: Put, verdict: Verdict):
    put("ticket_predictions")

    assert verdict(auto_share_is_high, FIRST_DAY, auto_share_floor=1.0).passed


def test_what_a_person_said_and_the_table_does_not_is_a_warning(put: Put, verdict: Verdict):
    put("ticket_labels", {"ticket_id": "a", "category": "access"})
    put("ticket_labels", {"ticket_id": "b", "priority": "high"})
    decided = {
        "a": {"category": "access", "decision": "labelled"},
        "b": {"decision": "review", "priority": "high", "priority_decision": "labelled"},
        "c": {"category": "access", "decision": "auto"},
    }
    rows = ({"ticket_id": name, "received_at": FIRST, **row} for name, row in decided.items())
    put("ticket_predictions", *rows)
    assert verdict(labels_hold, FIRST_DAY).passed

    put("ticket_labels", {"ticket_id": "c", "category": "network"})
    overruled = verdict(labels_hold, FIRST_DAY)

    assert not overruled.passed
    assert overruled.severity == dg.AssetCheckSeverity.WARN
    assert figures(overruled) == {"labelled": 1, "overruled": 1}


# drift_report


def metric(
    day: datetime, name: str, distance: float, drifted: bool, window_days: int = 1
) -> dict[str, Any]:
    return {
        "received_at": day.replace(hour=0),
        "metric": name,
        "distance": distance,
        "threshold": 0.1,
        "drifted": drifted,
        "window_days": window_days,
    }


def test_a_day_that_drifts_is_a_warning_on_that_day(put: Put, verdicts: Verdicts):
    put(
        "drift_metrics",
        metric(FIRST, "embedding", 0.05, False),
        metric(FIRST, "language", 0.05, False),
        metric(SECOND, "embedding", 0.4, True),
        metric(SECOND, "language", 0.05, False),
    )

    by_day = verdicts(drift_is_within_bounds, BOTH_DAYS)
    quiet, drifted = by_day["2025-06-01"], by_day["2025-06-02"]

    assert quiet.passed
    assert figures(quiet)["language_distance"] == 0.05
    assert not drifted.passed
    assert drifted.severity == dg.AssetCheckSeverity.WARN
    assert figures(drifted)["drifted_metrics"] == ["embedding"]


def test_a_week_that_drifts_is_told_from_its_day(put: Put, verdict: Verdict):
    put(
        "drift_metrics",
        metric(FIRST, "embedding", 0.05, False),
        metric(FIRST, "embedding", 0.4, True, window_days=7),
    )

    evaluation = verdict(drift_is_within_bounds)

    assert not evaluation.passed
    shown = figures(evaluation)
    assert shown["drifted_metrics"] == ["embedding_of_the_week"]
    assert shown["embedding_distance"] == 0.05
    assert shown["embedding_of_the_week_distance"] == 0.4


def test_drift_that_is_over_passes_again(put: Put, verdicts: Verdicts):
    put(
        "drift_metrics",
        metric(FIRST, "embedding", 0.4, True),
        metric(SECOND, "embedding", 0.05, False),
    )

    by_day = verdicts(drift_is_within_bounds, BOTH_DAYS)

    assert {day: verdict.passed for day, verdict in by_day.items()} == {
        "2025-06-01": False,
        "2025-06-02": True,
    }


def test_a_day_without_mail_has_no_drift(put: Put, verdict: Verdict):
    put("drift_metrics")

    evaluation = verdict(drift_is_within_bounds)

    assert evaluation.passed
    assert evaluation.description == "Nothing was received."


@pytest.mark.slow
def test_automatic_tickets_labelled_after_the_training_are_held_against_the_target(
    settings: Settings, put: Put, verdict: Verdict, trained: TrainedClassifier
):
    before = verdict(realised_precision_is_within_target)
    assert before.passed
    assert "no champion model" in str(before.description)
    store = Desk(settings).models
    store.promote(store.save(trained, datetime(2025, 6, 1)).version)
    learnt = trained.training_tickets["ticket_id"][0]
    tickets = {learnt: "auto", "unsure": "review"} | {f"new{n}": "auto" for n in range(40)}
    put(
        "ticket_predictions",
        *(
            {"ticket_id": name, "model_category": "printing", "model_decision": decision}
            | {"category_confidence": 0.9}
            for name, decision in tickets.items()
        ),
    )
    put("ticket_labels", {"ticket_id": learnt, "category": "network"})
    assert (
        verdict(realised_precision_is_within_target).description
        == "No automatic ticket was labelled."
    )

    put("ticket_labels", *({"ticket_id": f"new{n}", "category": "printing"} for n in range(20)))
    right = verdict(realised_precision_is_within_target)
    put("ticket_labels", *({"ticket_id": f"new{n}", "category": "access"} for n in range(20, 40)))
    half = verdict(realised_precision_is_within_target)

    assert right.passed
    assert not half.passed
    assert half.severity == dg.AssetCheckSeverity.WARN
    assert (figures(half)["labelled"], figures(half)["realised"]) == (40, 0.5)


@pytest.mark.parametrize(
    ("audits", "wrong", "others_wrong", "passes"),
    [
        (ENOUGH_AUDITS, 1, 20, True),  # people labelled what had gone wrong
        (ENOUGH_AUDITS - 1, 1, 20, False),
        (ENOUGH_AUDITS, 10, 0, False),
    ],
)
def test_audits_alone_are_judged_where_there_are_enough(
    settings: Settings,
    put: Put,
    verdict: Verdict,
    trained: TrainedClassifier,
    *,
    audits: int,
    wrong: int,
    others_wrong: int,
    passes: bool,
):
    store = Desk(settings).models
    store.promote(store.save(trained, datetime(2025, 6, 1)).version)
    decisions = ["audit"] * audits + ["auto"] * 100
    given = ["access"] * wrong + ["printing"] * (audits - wrong)
    given += ["access"] * others_wrong + ["printing"] * (100 - others_wrong)
    put(
        "ticket_predictions",
        *(
            {"ticket_id": f"{number}", "model_category": "printing", "model_decision": "auto"}
            | {"category_confidence": 0.9, "former_decision": decision}
            for number, decision in enumerate(decisions)
        ),
    )
    put(
        "ticket_labels",
        *({"ticket_id": f"{number}", "category": name} for number, name in enumerate(given)),
    )

    judged = verdict(realised_precision_is_within_target)

    assert judged.passed == passes
    assert figures(judged)["audits"] == audits
    told = {family.name: family.samples[0].value for family in realised_families(figures(judged))}
    audited = told.get("tickets_realised_audited_precision_ratio")
    assert audited == (pytest.approx(1 - wrong / audits) if audits >= ENOUGH_AUDITS else None)


@pytest.mark.slow
def test_labels_of_one_category_do_not_speak_for_the_others(
    settings: Settings, put: Put, verdict: Verdict, trained: TrainedClassifier
):
    """People labelled all automatic tickets of a category that goes wrong, and 1 in 10 others."""
    store = Desk(settings).models
    store.promote(store.save(trained, datetime(2025, 6, 1)).version)
    categories = {f"new{n}": "printing" if n < 40 else "access" for n in range(440)}
    put(
        "ticket_predictions",
        *(
            {"ticket_id": name, "model_category": category, "model_decision": "auto"}
            | {"category_confidence": 0.9}
            for name, category in categories.items()
        ),
    )
    put("ticket_labels", *({"ticket_id": f"new{n}", "category": "email"} for n in range(20)))
    put("ticket_labels", *({"ticket_id": f"new{n}", "category": "printing"} for n in range(20, 40)))
    put("ticket_labels", *({"ticket_id": f"new{n}", "category": "access"} for n in range(40, 80)))

    shown = figures(verdict(realised_precision_is_within_target))

    # 60 of the 80 labels are right, as 420 of the 440 tickets are taken to be.
    assert shown["realised"] == pytest.approx(420 / 440)
