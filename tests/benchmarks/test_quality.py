"""Candidates and peers are measured on the splits of `tickets evaluate`."""

import numpy as np
import pandas as pd
import pytest

from ticket_assets.classification.training_set import TrainingOptions
from ticket_assets.quality import MAJORITY, PRODUCT, LabelledTable

TOPICS = {"access": "account password locked rights", "network": "vpn wifi router gateway"}
POLITE = "hello thanks please since yesterday morning floor again still nobody help office today"


def labelled_table(count: int = 160) -> LabelledTable:
    random = np.random.default_rng(3)
    topics = random.choice(list(TOPICS), count)
    texts = [
        " ".join([*random.choice(TOPICS[topic].split(), 3), *random.choice(POLITE.split(), 6)])
        for topic in topics
    ]
    tickets = pd.DataFrame(
        {
            "ticket_id": [f"{number:020x}" for number in range(count)],
            "received_at": pd.date_range("2025-01-01", periods=count, freq="h"),
            "text": texts,
            "tokens": texts,
            "language": "en",
            "category": topics,
            "priority": ["high" if "nobody" in text else "low" for text in texts],
        }
    )
    return LabelledTable(tickets, np.arange(count), np.arange(count), 0)


@pytest.mark.slow
def test_candidates_and_peers_are_judged_on_the_same_splits():
    from benchmarks.quality import PEERS, best_peer, compare_with_peers, quality_table

    def encode(texts):
        return np.random.default_rng(1).normal(size=(len(texts), 8)).astype(np.float32)

    measured = compare_with_peers(labelled_table(), encode, TrainingOptions(folds=3), splits=2)

    category, priority = measured.targets["category"], measured.targets["priority"]
    assert set(category.macro_f1) == {
        MAJORITY, *PEERS, "embeddings", "tfidf", "hybrid", "average", PRODUCT,
    }  # fmt: skip
    assert "hybrid_impact_urgency" in priority.macro_f1
    assert {len(scores) for scores in category.macro_f1.values()} == {2}
    # Vectors drawn by lot know nothing, words do.
    assert best_peer(category) == PEERS[0]
    assert category.mean("tfidf") > 0.9 > category.mean("embeddings")
    for split, name in enumerate(category.chosen):
        chosen = category.macro_f1[name][split]
        assert category.macro_f1[PRODUCT][split] == pytest.approx(chosen, abs=0.05)
    lines = quality_table(measured).splitlines()
    assert sum(line.startswith("| category | ") for line in lines) == len(category.macro_f1) + 1
    assert lines[-1].endswith(" of 2 |")
