"""A small desk: French and English tickets whose words overlap between categories."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from ticket_assets.classification.training import TrainedClassifier, train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet

WORDS = {
    "access": {
        "fr": "compte mot passe verrouillé connexion identifiant droits",
        "en": "account password locked sign login rights permission",
    },
    "network": {
        "fr": "vpn réseau connexion wifi coupure lent tunnel",
        "en": "vpn network wifi login drops slow tunnel",
    },
    "printing": {
        "fr": "imprimante papier bourrage toner file impression lent",
        "en": "printer paper jam toner queue print slow",
    },
}
POLITE = {
    "fr": "bonjour merci je ne peux pas depuis hier le la mon notre urgent",
    "en": "hello thanks i can not since yesterday the my our please urgent",
}
WEIGHTS = {"access": 0.5, "network": 0.3, "printing": 0.2}
VECTOR_WIDTH = 24


def bag_vectors(texts: list[str]) -> np.ndarray:
    """Bags of words through a fixed random projection, of unit length."""
    words = sorted({word for text in texts for word in text.split()})
    projection = np.random.default_rng(1).normal(size=(len(words), VECTOR_WIDTH))
    position = {word: row for row, word in enumerate(words)}
    vectors = np.array([sum(projection[position[word]] for word in text.split()) for text in texts])
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def own_word(number: int) -> str:
    """A word without digits that no other number has."""
    return str(number).translate(str.maketrans("0123456789", "klmnopqrst"))


def make_tickets(count: int, seed: int = 3, noise: float = 0.05) -> pd.DataFrame:
    """Tickets one hour apart; a share of `noise` has another category than its words."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        language = str(rng.choice(["fr", "en"], p=[0.7, 0.3]))
        topic = str(rng.choice(list(WEIGHTS), p=list(WEIGHTS.values())))
        words = [
            *rng.choice(WORDS[topic][language].split(), 5),
            *rng.choice(POLITE[language].split(), 6),
        ]
        rng.shuffle(words)
        text = " ".join(words)
        category = str(rng.choice(list(WEIGHTS))) if rng.random() < noise else topic
        rows.append(
            {
                "ticket_id": f"{number:020x}",
                "received_at": pd.Timestamp("2025-03-01") + pd.Timedelta(hours=number),
                "text": text,
                # With words of its own between: no two tickets are near-copies of each other.
                "tokens": " ".join(
                    f"{word} {own_word(1000 * number + place)}" for place, word in enumerate(words)
                ),
                "language": language,
                "category": category,
                "priority": "high" if "urgent" in words else "normal",
            }
        )
    return pd.DataFrame(rows)


@pytest.fixture(scope="session")
def make_training_set() -> Callable[..., TrainingSet]:
    def make(tickets: pd.DataFrame | None = None, **about: float) -> TrainingSet:
        rows = make_tickets(**{"count": 400, **about}) if tickets is None else tickets  # type: ignore[arg-type]
        return TrainingSet(rows, bag_vectors(rows["text"].tolist()), "bag-of-words")

    return make


@pytest.fixture(scope="session")
def options() -> TrainingOptions:
    # Three folds, not five: training takes most of the time of the tests that need a model.
    return TrainingOptions(
        target_precision=0.9, priorities=("low", "normal", "high", "urgent"), folds=3
    )


@pytest.fixture(scope="session")
def training_set(make_training_set: Callable[..., TrainingSet]) -> TrainingSet:
    return make_training_set()


@pytest.fixture(scope="session")
def trained(training_set: TrainingSet, options: TrainingOptions) -> TrainedClassifier:
    return train(training_set, options)
