from collections.abc import Callable

import numpy as np
import pytest

from ticket_assets.classification.impact_urgency import FEATURES, impact_urgency
from ticket_assets.classification.training import train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet


def features(text: str) -> dict[str, float]:
    """What a text tells, silence left out."""
    row = impact_urgency([text])[0]
    return {
        name: round(float(value), 3) for name, value in zip(FEATURES, row, strict=True) if value
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Imprimante : toute l'équipe est BLOQUÉE", {"impact_team": 1, "urgency_high": 1}),
        ("Mail server down, nobody can work, ASAP", {"impact_site": 1, "urgency_high": 1}),
        ("Dringend! Alle Benutzer betroffen", {"impact_site": 1, "urgency_high": 1}),
        ("Es urgente, varios usuarios", {"impact_team": 1, "urgency_high": 1}),
        ("Só eu, quando puder", {"impact_person": 1, "urgency_low": 1}),
        ("Mon écran clignote", {}),
    ],
)
def test_whom_it_hits_and_how_long_it_can_wait(text: str, expected: dict[str, float]):
    values = features(text)

    values.pop("impact_times_urgency", None)
    assert values == expected


@pytest.mark.parametrize(
    "text",
    [
        "Ce n'est pas très urgent",
        "It isn't urgent",
        "nicht dringend",
        "no es urgente",
        "sem urgência",
    ],
)
def test_a_negated_urgency_is_a_low_one(text: str):
    values = features(text)

    assert "urgency_high" not in values
    assert values["urgency_low"] == 1


def test_a_negation_reaches_three_words_far():
    assert "urgency_high" in features("I cannot print and not even scan the invoice this is urgent")


@pytest.mark.parametrize(
    ("text", "product"),
    [("urgent", 1 / 3), ("urgent for our team", 2 / 3), ("urgent for everyone", 1.0),
     ("no rush, everyone copes", -1.0), ("everyone", 0.0)],
)  # fmt: skip
def test_the_product_is_impact_times_urgency(text: str, product: float):
    assert impact_urgency([text])[0, FEATURES.index("impact_times_urgency")] == pytest.approx(
        product
    )


@pytest.mark.slow
def test_they_are_chosen_where_they_help(
    make_training_set: Callable[..., TrainingSet], options: TrainingOptions
):
    # Given few tickets, each with its priority told in a phrase that hardly another one has
    phrases = {
        "high": ["urgent", "asap", "immédiatement", "au plus vite", "critique", "right away",
                 "bloquant", "emergency", "dès que possible", "immediately"],
        "normal": ["no rush", "pas pressé", "à l'occasion", "whenever you can", "rien d'urgent",
                   "take your time", "can wait", "sans urgence", "no hurry", "peut attendre"],
    }  # fmt: skip
    rng = np.random.default_rng(4)
    tickets = make_training_set(count=120).tickets
    tickets["text"] = tickets["text"].str.replace("urgent", "merci")
    tickets["priority"] = rng.choice(list(phrases), len(tickets))
    tickets["text"] += [
        ". " + str(rng.choice(phrases[priority])) for priority in tickets["priority"]
    ]
    telling = make_training_set(tickets)

    target = train(telling, options).evaluation.targets["priority"]

    assert target.winner == "hybrid_impact_urgency"
    scores = {score.name: score.macro_f1 for score in target.candidates}
    assert scores["hybrid_impact_urgency"] > scores["hybrid"] + 0.05
