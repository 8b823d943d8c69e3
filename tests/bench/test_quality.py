"""What is measured on a labelled CSV, and that nothing leaks from the test into the training."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ticket_assets.bench.quality import (
    CHOSEN,
    PEERS,
    Quality,
    QualityError,
    TargetQuality,
    quality,
)
from ticket_assets.classification.training_set import TrainingOptions

pytestmark = pytest.mark.slow

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


def tickets(count: int = 240) -> pd.DataFrame:
    random = np.random.default_rng(3)
    rows = []
    for _ in range(count):
        topic = str(random.choice(list(WORDS)))
        words = [*random.choice(WORDS[topic].split(), 4), *random.choice(POLITE.split(), 6)]
        rows.append((topic, " ".join(words), topic, "high" if "nobody" in words else "low"))
    return pd.DataFrame(rows, columns=["title", "text", "topic", "level"])


def measure(path: Path, table: pd.DataFrame, priority: str | None = "level") -> Quality:
    table.to_csv(path, index=False)
    return quality(
        path,
        encode,
        category="topic",
        priority=priority,
        subject="title",
        body="text",
        options=TrainingOptions(target_precision=0.9, priorities=("low", "high"), folds=3),
        splits=2,
    )


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Quality:
    return measure(tmp_path_factory.mktemp("quality") / "tickets.csv", tickets())


def test_candidates_and_peers_are_judged_on_the_same_splits(measured: Quality):
    category, priority = measured.targets["category"], measured.targets["priority"]

    assert list(category.macro_f1) == [
        *PEERS, "embeddings", "tfidf", "hybrid", "average", CHOSEN,
    ]  # fmt: skip
    assert "hybrid_impact_urgency" in priority.macro_f1
    assert {len(scores) for scores in category.macro_f1.values()} == {2}
    assert (category.column, category.labels) == ("topic", 3)
    # The title is the label.
    assert category.mean("tfidf") > 0.98
    for split, name in enumerate(category.chosen):
        assert category.macro_f1[CHOSEN][split] == pytest.approx(
            category.macro_f1[name][split], abs=0.05
        )


def test_the_same_file_gives_the_same_figures(measured: Quality, tmp_path: Path):
    assert measure(tmp_path / "again.csv", tickets()) == measured


def test_the_table_has_a_line_for_each_and_the_automatic_share(measured: Quality):
    lines = measured.table().splitlines()

    assert sum(line.startswith("| topic | ") for line in lines) == 8
    assert any(line.startswith(f"| level | {CHOSEN} | ") for line in lines)
    assert lines[-1].startswith("| level | ")
    assert lines[-1].endswith(" of 2 |")


def test_copies_of_a_mail_are_never_on_both_sides(tmp_path: Path):
    # Given labels drawn by lot, and each mail eight times with another number and the same label
    mails = tickets(80)
    mails["topic"] = np.random.default_rng(5).choice(["a", "b"], len(mails))
    copies = pd.concat(
        [mails.assign(title=mails["title"] + f" {100 + number}") for number in range(8)]
    )

    found = measure(tmp_path / "copies.csv", copies, priority=None)

    assert (found.tickets, found.text_groups) == (640, 80)
    for name in PEERS:
        assert found.targets["category"].mean(name) < 0.7


def test_what_is_decided_alone_is_compared_with_the_target():
    found = TargetQuality(
        column="queue",
        labels=2,
        macro_f1={PEERS[0]: (0.8, 0.9), PEERS[1]: (0.7, 0.6), CHOSEN: (0.85, 0.85)},
        chosen=("hybrid", "tfidf"),
        automatic=(100, 40),
        right=(80, 40),
        tested=(200, 200),
        target_precision=0.95,
    )

    assert found.best_peer == PEERS[0]
    assert found.lead(CHOSEN) == pytest.approx((0.0, -0.05, 0.05))
    assert (found.coverage, found.precision) == (0.35, pytest.approx(120 / 140))
    # 80 of 100 is at most 87 % with 97.5 % confidence; 40 of 40 is at least 0.025^(1/40).
    assert found.precision_interval(0)[1] == pytest.approx(0.873, abs=1e-3)
    assert found.precision_interval(1) == (pytest.approx(0.025 ** (1 / 40)), 1.0)
    assert found.splits_that_keep_the_target == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda table: table.drop(columns="topic"), "has no column topic. Its columns: title, te"),
        (
            lambda table: table[:40],
            "has 40 different tickets with a topic; a measurement",
        ),
    ],
)
def test_a_file_that_cannot_be_measured_is_explained(change, reason: str, tmp_path: Path):
    with pytest.raises(QualityError) as raised:
        measure(tmp_path / "tickets.csv", change(tickets()))

    assert reason in str(raised.value)


def test_a_missing_file_is_explained(tmp_path: Path):
    with pytest.raises(QualityError, match="No such file"):
        quality(tmp_path / "none.csv", encode, category="topic")
