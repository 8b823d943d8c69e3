"""What is measured on a labelled table, and that nothing leaks from the test into the training."""

import json
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ticket_assets.classification.training_set import TrainingOptions
from ticket_assets.mail.input_files import ExportError
from ticket_assets.quality import (
    MAJORITY,
    PRODUCT,
    TFIDF,
    LabelledTable,
    Quality,
    QualityError,
    TargetQuality,
    labelled_tickets,
    measure,
)
from ticket_assets.routing import load_routing
from ticket_assets.settings import Settings

WORDS = {
    "access": "account password locked sign rights permission expired reset",
    "network": "vpn network wifi drops slow tunnel router gateway",
    "printing": "printer paper jam toner queue tray stripes scanner",
}
POLITE = "hello thanks please since yesterday morning floor again still nobody help office today"


def encode(texts: Sequence[str]) -> np.ndarray:
    """Bags of words through a fixed random projection."""
    projection = np.random.default_rng(1).normal(size=(4096, 32)).astype(np.float32)
    rows = [[zlib.crc32(word.encode()) % 4096 for word in text.lower().split()] for text in texts]
    vectors = np.stack([projection[row].sum(axis=0) for row in rows])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


COLUMNS = {"subject": "title", "body": "text", "category": "topic", "priority": "level"}


def tickets(count: int = 240) -> pd.DataFrame:
    random = np.random.default_rng(3)
    rows = []
    for _ in range(count):
        topic = str(random.choice(list(WORDS)))
        words = [*random.choice(WORDS[topic].split(), 4), *random.choice(POLITE.split(), 6)]
        rows.append((topic, " ".join(words), topic, "high" if "nobody" in words else "low"))
    return pd.DataFrame(rows, columns=list(COLUMNS.values()))


def read(path: Path, table: pd.DataFrame, columns: dict[str, str] | None = None) -> LabelledTable:
    if path.suffix == ".csv":
        table.to_csv(path, index=False)
    elif path.suffix == ".parquet":
        table.to_parquet(path)
    else:
        table.to_json(path, orient="records", lines=True, force_ascii=False)
    return labelled_tickets(path, Settings(), load_routing(None), columns or COLUMNS)


def quality(table: LabelledTable, splits: int = 2) -> Quality:
    return measure(
        table,
        encode(table.tickets["text"].tolist()),
        TrainingOptions(target_precision=0.9, priorities=("low", "high"), folds=3),
        splits=splits,
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Quality:
    return quality(read(tmp_path_factory.mktemp("quality") / "tickets.csv", tickets()))


@pytest.mark.slow
def test_the_product_is_judged_beside_its_baselines_on_the_same_splits(measured: Quality):
    category, priority = measured.targets["category"], measured.targets["priority"]

    assert list(category.macro_f1) == list(priority.macro_f1) == [MAJORITY, TFIDF, PRODUCT]
    assert {len(scores) for scores in category.macro_f1.values()} == {2}
    # The title is the category; always saying one of three is right in a third.
    assert category.mean(PRODUCT) > 0.98
    assert category.mean(MAJORITY) == pytest.approx(1 / 6, abs=0.03)
    assert [label.label for label in category.labels] == sorted(WORDS)
    assert sum(label.tickets for label in category.labels) == sum(category.tested)
    assert sum(label.automatic for label in category.labels) == sum(category.automatic)
    assert sum(label.right for label in category.labels) == sum(category.right)


@pytest.mark.slow
def test_the_same_table_gives_the_same_figures_in_any_format(measured: Quality, tmp_path: Path):
    assert quality(read(tmp_path / "again.parquet", tickets())) == measured


@pytest.mark.slow
def test_the_figures_are_json_with_their_means(measured: Quality):
    content = json.loads(json.dumps(measured.to_dict()))

    category = content["targets"]["category"]
    assert category["mean_macro_f1"][TFIDF] == pytest.approx(np.mean(category["macro_f1"][TFIDF]))
    assert category["coverage"] == sum(category["automatic"]) / sum(category["tested"])


@pytest.mark.slow
def test_copies_of_a_mail_are_never_on_both_sides(tmp_path: Path):
    # Given labels drawn by lot, and each mail eight times with another number and the same label
    mails = tickets(80)
    mails["topic"] = np.random.default_rng(5).choice(["a", "b"], len(mails))
    copies = pd.concat(
        [mails.assign(title=mails["title"] + f" {100 + number}") for number in range(8)]
    )

    outcome = quality(read(tmp_path / "copies.jsonl", copies.drop(columns="level"), {
        "subject": "title", "body": "text", "category": "topic"
    }))  # fmt: skip

    assert (outcome.tickets, outcome.text_groups) == (640, 80)
    assert outcome.targets["category"].mean(TFIDF) < 0.7
    assert (outcome.targets.keys(), outcome.skipped_targets) == ({"category"}, {})


@pytest.mark.slow
def test_a_priority_that_cannot_be_learnt_is_named_and_the_category_measured(tmp_path: Path):
    outcome = quality(read(tmp_path / "one.csv", tickets(120).assign(level="high")), splits=1)

    assert outcome.targets.keys() == {"category"}
    assert outcome.skipped_targets["priority"].startswith("Cannot learn the priority")


def test_rows_are_read_and_cleaned_as_by_the_import(tmp_path: Path):
    table = tickets(100)
    table.loc[0, ["title", "text"]] = [
        "Acc&egrave;s",
        "<p>Je n&#39;ai plus <b>acc&egrave;s</b></p>",
    ]
    table.loc[1, "topic"] = None
    table.loc[2, ["title", "text"]] = table.loc[3, ["title", "text"]]
    table["topic"] = table["topic"].replace("network", "NETWORK")

    labelled = read(tmp_path / "a.csv", table)

    assert labelled.tickets["text"][0].endswith("Je n'ai plus accès")
    assert (len(labelled.tickets), labelled.unusable_rows) == (98, 2)
    assert labelled.tickets["ticket_id"].is_unique
    # The spelling of the routing file, as after an import; unknown labels stay as they are.
    assert set(labelled.tickets["category"]) == {"access", "network", "printing"}


def test_columns_are_known_by_their_names(tmp_path: Path):
    table = tickets(60).rename(
        columns={"title": "Objet", "text": "Description", "topic": "Catégorie", "level": "Urgence"}
    )

    labelled = read(tmp_path / "a.csv", table, columns={"sender": "Objet"})

    assert set(labelled.tickets["priority"]) == {"low", "high"}


def test_what_is_decided_alone_is_compared_with_the_target():
    target = TargetQuality(
        macro_f1={TFIDF: (0.8, 0.9), PRODUCT: (0.85, 0.85)},
        chosen=("hybrid", "tfidf"),
        automatic=(100, 40),
        right=(80, 40),
        tested=(200, 200),
        labels=(),
        target_precision=0.95,
    )

    assert target.lead(PRODUCT, TFIDF) == pytest.approx((0.0, -0.05, 0.05))
    assert (target.coverage, target.precision) == (0.35, pytest.approx(120 / 140))
    # 80 of 100 is at most 87 % with 97.5 % confidence; 40 of 40 is at least 0.025^(1/40).
    assert target.precision_interval(0)[1] == pytest.approx(0.873, abs=1e-3)
    assert target.precision_interval(1) == (pytest.approx(0.025 ** (1 / 40)), 1.0)
    assert target.splits_that_keep_the_target == 1


@pytest.mark.parametrize(
    ("change", "error", "reason"),
    [
        (lambda table: table.drop(columns="topic"), ExportError, "has no column 'topic' for cat"),
        (lambda table: table[:40], QualityError, "different texts with a category; a measurement"),
        (lambda table: table.assign(topic=""), QualityError, "has 0 different texts with a cat"),
    ],
)
def test_a_table_that_cannot_be_measured_is_explained(change, error, reason: str, tmp_path: Path):
    with pytest.raises(error) as raised:
        read(tmp_path / "tickets.csv", change(tickets(60)))

    assert reason in str(raised.value)


def test_a_table_without_a_category_says_how_to_name_it(tmp_path: Path):
    with pytest.raises(QualityError, match="like `--column category=Queue`"):
        read(tmp_path / "tickets.csv", tickets(60), columns={"body": "text"})
