"""Candidate against champion, on recent tickets that neither has learnt from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ticket_assets.classification.evaluation import (
    bootstrap_macro_f1,
    bootstrap_samples,
    confusion_counts,
    macro_f1,
)
from ticket_assets.classification.features import Floats, Integers
from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.classification.training_set import TrainingSet

LEAST_COMMON_ROWS = 30


@dataclass(frozen=True)
class Comparison:
    """Macro-F1 of the category, candidate minus champion, with its 95 % interval."""

    candidate_macro_f1: float
    champion_macro_f1: float
    difference: float
    low: float
    high: float
    rows: int
    """Tickets both were judged on; 0 when recorded scores are compared."""
    not_worse: bool
    """The interval reaches zero: the candidate is not significantly worse."""
    basis: str
    """What was compared, in words for a person."""


def compare_with_champion(
    candidate: TrainedClassifier,
    champion: TrainedClassifier,
    training_set: TrainingSet,
    seed: int = 7,
) -> Comparison:
    """The comparison on the candidate's hold-out tickets that the champion has not learnt from.

    The candidate is represented by the model fitted on the earlier part, which has not seen them
    either. Neither has a copy of them: text groups count, not only ids. With fewer than 30 such
    tickets, or another encoder, the scores recorded for each on its own hold-out are compared, and
    the half-widths of their intervals say how far they may differ by chance.
    """
    if champion.classifier.encoder != training_set.encoder:
        return _recorded(
            candidate,
            champion,
            f"the champion reads vectors of {champion.classifier.encoder}, not of "
            f"{training_set.encoder}",
        )
    unseen = _unseen(candidate.holdout, champion.training_tickets)
    if len(unseen) < LEAST_COMMON_ROWS:
        return _recorded(
            candidate, champion, f"only {len(unseen)} hold-out tickets are new to the champion"
        )
    rows = training_set.tickets["ticket_id"].reset_index(drop=True)
    positions = pd.Series(rows.index, index=rows)[unseen["ticket_id"]].to_numpy()
    predicted = champion.classifier.predict(
        training_set.tickets.iloc[positions], training_set.vectors[positions]
    )
    return _paired(
        truth=unseen["category"],
        candidate=unseen["category_predicted"],
        champion=predicted["category"],
        seed=seed,
    )


def _unseen(holdout: pd.DataFrame, learnt: pd.DataFrame) -> pd.DataFrame:
    known = holdout["ticket_id"].isin(learnt["ticket_id"])
    copies = holdout["text_group"].isin(learnt["text_group"])
    return holdout[~known & ~copies]


def _paired(truth: pd.Series, candidate: pd.Series, champion: pd.Series, seed: int) -> Comparison:
    names = sorted({*truth, *candidate, *champion})

    def codes(labels: pd.Series) -> Integers:
        return np.asarray(pd.Categorical(labels, categories=names).codes, dtype=np.int64)

    right, ours, theirs = codes(truth), codes(candidate), codes(champion)
    samples = bootstrap_samples(len(right), seed)

    def spread(predicted: Integers) -> Floats:
        return bootstrap_macro_f1(right, predicted, len(names), samples)

    low, high = np.quantile(spread(ours) - spread(theirs), [0.025, 0.975])
    new = float(macro_f1(confusion_counts(right, ours, len(names))))
    old = float(macro_f1(confusion_counts(right, theirs, len(names))))
    return Comparison(
        candidate_macro_f1=new,
        champion_macro_f1=old,
        difference=new - old,
        low=float(low),
        high=float(high),
        rows=len(right),
        not_worse=bool(high >= 0),
        basis=f"{len(right)} recent tickets that neither had learnt from, paired bootstrap",
    )


def _recorded(candidate: TrainedClassifier, champion: TrainedClassifier, reason: str) -> Comparison:
    new = candidate.evaluation.targets["category"]
    old = champion.evaluation.targets["category"]
    # Independent samples: the half-widths add as squares.
    tolerance = float(
        np.hypot(new.macro_f1_high - new.macro_f1_low, old.macro_f1_high - old.macro_f1_low) / 2
    )
    difference = new.macro_f1 - old.macro_f1
    return Comparison(
        candidate_macro_f1=new.macro_f1,
        champion_macro_f1=old.macro_f1,
        difference=difference,
        low=difference - tolerance,
        high=difference + tolerance,
        rows=0,
        not_worse=difference + tolerance >= 0,
        basis=f"scores recorded on each one's own hold-out, because {reason}",
    )
