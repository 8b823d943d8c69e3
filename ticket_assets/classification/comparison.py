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
from ticket_assets.classification.features import Floats
from ticket_assets.classification.preparation import label_codes
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
    """Compares on the candidate's hold-out tickets that the champion has not learnt from.

    The candidate's model fitted on the earlier tickets predicts them, so it has not learnt from
    them either. A ticket does not count when the champion has learnt from one of its wording. With
    fewer than 30 such tickets, or another encoder, the recorded scores of each model on its own
    hold-out are compared, within the half-widths of their intervals.
    """
    if champion.classifier.encoder != training_set.encoder:
        return _recorded(
            candidate,
            champion,
            f"the champion reads vectors of {champion.classifier.encoder}, not of "
            f"{training_set.encoder}",
        )
    unseen = _unseen(candidate, champion)
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


def _unseen(candidate: TrainedClassifier, champion: TrainedClassifier) -> pd.DataFrame:
    """The candidate's hold-out in wordings of which the champion has learnt no ticket."""
    known = champion.training_tickets
    holdout = candidate.holdout
    tickets = pd.concat([holdout, candidate.training_tickets])
    # A candidate of an earlier release has templates only.
    group = "wording" if "wording" in holdout else "text_group"
    learnt = tickets["ticket_id"].isin(known["ticket_id"])
    learnt |= tickets["text_group"].isin(known["text_group"])
    return holdout[~holdout[group].isin(tickets.loc[learnt, group])]


def _paired(truth: pd.Series, candidate: pd.Series, champion: pd.Series, seed: int) -> Comparison:
    names = sorted({*truth, *candidate, *champion})
    true_codes = label_codes(truth, names)
    samples = bootstrap_samples(len(truth), seed)

    def scores(labels: pd.Series) -> tuple[float, Floats]:
        """Macro-F1 on the tickets, and on each resample of them."""
        predicted = label_codes(labels, names)
        return (
            float(macro_f1(confusion_counts(true_codes, predicted, len(names)))),
            bootstrap_macro_f1(true_codes, predicted, len(names), samples),
        )

    candidate_score, candidate_resampled = scores(candidate)
    champion_score, champion_resampled = scores(champion)
    low, high = np.quantile(candidate_resampled - champion_resampled, [0.025, 0.975])
    return Comparison(
        candidate_macro_f1=candidate_score,
        champion_macro_f1=champion_score,
        difference=candidate_score - champion_score,
        low=float(low),
        high=float(high),
        rows=len(truth),
        not_worse=bool(high >= 0),
        basis=f"{len(truth)} recent tickets that neither had learnt from, paired bootstrap",
    )


def _recorded(candidate: TrainedClassifier, champion: TrainedClassifier, reason: str) -> Comparison:
    # Scores of former releases come from near-copies of what their models had learnt.
    comparable = (candidate.evaluation.wordings is None) == (champion.evaluation.wordings is None)
    if not comparable:
        reason += (
            "; one of them was judged on near-copies of what it had learnt, so nothing follows"
        )
    scores, champion_scores = (
        model.evaluation.targets["category"] for model in (candidate, champion)
    )
    width = scores.macro_f1_high - scores.macro_f1_low
    champion_width = champion_scores.macro_f1_high - champion_scores.macro_f1_low
    # The samples are independent, so the squares of the half-widths add up.
    tolerance = float(np.hypot(width, champion_width) / 2)
    difference = scores.macro_f1 - champion_scores.macro_f1
    return Comparison(
        candidate_macro_f1=scores.macro_f1,
        champion_macro_f1=champion_scores.macro_f1,
        difference=difference,
        low=difference - tolerance,
        high=difference + tolerance,
        rows=0,
        not_worse=difference + tolerance >= 0 or not comparable,
        basis=f"scores recorded on each one's own hold-out, because {reason}",
    )
