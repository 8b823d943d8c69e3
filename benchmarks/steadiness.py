"""How far the automatic share moves when a desk is trained again with a few more labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd

from benchmarks.table import Line
from ticket_assets.classification.features import Floats, Integers
from ticket_assets.classification.training import train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet

PART = "thresholds"
RETRAININGS = 20
ADDED = 0.01
"""Of the labels of the first training, with each retraining."""
LEARNT = 0.5
"""Share of the tickets that are not put aside which the first training has."""
PUT_ASIDE = 0.1
"""Of the wordings, and of the tickets in other wordings: what every model is asked."""


def automatic_shares(
    tickets: pd.DataFrame,
    vectors: Floats,
    groups: Integers,
    *,
    retrainings: int = RETRAININGS,
    seed: int = 1,
    on_progress: Callable[[str], None] = lambda _: None,
) -> dict[str, list[float]]:
    """Per target the share of the same tickets that each training makes automatic, first to last.

    Labels are added by lot. Each training is the product's, from nothing.

    Args:
        tickets: as in `TrainingSet`.
        groups: the number of each ticket's wording.
    """
    random = np.random.default_rng(seed)
    names = random.permutation(np.unique(groups))
    new = np.isin(groups, names[: round(PUT_ASIDE * len(names))])
    aside = new | (random.random(len(groups)) < PUT_ASIDE)
    order = random.permutation(np.flatnonzero(~aside))
    first = round(LEARNT * len(order))
    shares: dict[str, list[float]] = {}
    for number in range(retrainings + 1):
        on_progress(f"Training {number + 1} of {retrainings + 1}")
        rows = np.sort(order[: first + round(number * ADDED * first)])
        training_set = TrainingSet(
            tickets.iloc[rows].reset_index(drop=True), vectors[rows], "table"
        )
        classifier = train(training_set, TrainingOptions()).classifier
        predicted = classifier.predict(tickets[aside], vectors[aside])
        for target, model in classifier.targets.items():
            threshold = predicted[target].map(
                dict(zip(model.labels, model.thresholds, strict=True))
            )
            automatic = predicted[f"{target}_confidence"] >= threshold
            shares.setdefault(target, []).append(float(automatic.mean()))
    return shares


def steadiness_lines(source: str, shares: dict[str, list[float]]) -> Iterator[Line]:
    """Mean, standard deviation and greatest step of the automatic share, per target."""
    for target, values in shares.items():
        yield Line(
            PART,
            f"{source}, {target}: automatic in {len(values)} trainings, each with 1 % more labels:"
            " mean, standard deviation, greatest step in points",
            f"{np.mean(values):.1%}, {100 * np.std(values, ddof=1):.1f}, {100 * _step(values):.1f}",
        )


def _step(values: Sequence[float]) -> float:
    return float(np.abs(np.diff(values)).max())
