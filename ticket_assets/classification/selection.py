"""Candidates compared by cross-validation; out-of-fold scores give temperatures and thresholds."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from ticket_assets.classification.calibration import (
    abstain_thresholds,
    fit_temperature,
    log_loss,
    probabilities,
)
from ticket_assets.classification.candidates import (
    CANDIDATES,
    candidates_for,
    combined_scores,
    fit_expert,
)
from ticket_assets.classification.evaluation import CandidateScore, confusion_counts, macro_f1
from ticket_assets.classification.features import Features, FeatureSpace, Floats, Integers
from ticket_assets.classification.preparation import LabelledRows
from ticket_assets.classification.training_set import (
    IMPORT_HINT,
    NotEnoughLabels,
    TrainingOptions,
)

TIE = 0.005
"""Candidates this close in macro-F1 are equals; the better log-loss then decides."""


@dataclass
class OutOfFold:
    """Out-of-fold scores per target and expert, shape (rows, labels); NaN where not computed."""

    scores: dict[str, dict[str, Floats]]
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Calibration:
    """What out-of-fold scores say about a candidate for one target."""

    candidate: str
    expert_temperatures: dict[str, float]
    temperature: float
    thresholds: Floats
    probability: Floats
    """Out of fold, shape (all rows, labels)."""


def _folds(
    labelled: LabelledRows, rows: Integers, options: TrainingOptions
) -> list[tuple[Integers, Integers]]:
    """Train and test rows of each fold: categories spread evenly, text groups never split."""
    codes, groups = labelled.codes["category"][rows], labelled.groups[rows]
    count = max(2, min(options.folds, int(np.bincount(codes).max()), len(np.unique(groups))))
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=options.seed)
    with warnings.catch_warnings():
        # A category with fewer tickets than folds is allowed here; it is reported as uncertain.
        warnings.simplefilter("ignore", UserWarning)
        return [(rows[train], rows[test]) for train, test in folds.split(codes, codes, groups)]


def cross_validate(
    labelled: LabelledRows,
    rows: Integers,
    experts: Mapping[str, Sequence[str]],
    options: TrainingOptions,
    report: Callable[[str], None],
) -> OutOfFold:
    """Out-of-fold scores; a fold's features are made once for all experts and targets."""
    size = len(labelled.tickets)
    found = OutOfFold(
        scores={
            target: {name: np.full((size, len(labelled.labels[target])), np.nan) for name in names}
            for target, names in experts.items()
        },
        seconds={target: dict.fromkeys(names, 0.0) for target, names in experts.items()},
    )
    folds = _folds(labelled, rows, options)
    for number, (train_rows, test_rows) in enumerate(folds, start=1):
        _, train_features, test_features = _features(labelled, train_rows, test_rows)
        for target, names in experts.items():
            known = np.flatnonzero(labelled.codes[target][train_rows] >= 0)
            codes = labelled.codes[target][train_rows[known]]
            if len(np.unique(codes)) < 2:
                raise NotEnoughLabels(
                    f"Cannot compare candidates for the {target}: one of the {len(folds)} folds "
                    f"has a single label to learn from. {IMPORT_HINT}"
                )
            for name in names:
                started = time.process_time()
                expert = fit_expert(name, train_features.rows(known), codes, options.seed)
                found.seconds[target][name] += time.process_time() - started
                scores = expert.scores(test_features, len(labelled.labels[target]))
                found.scores[target][name][test_rows] = scores
        report(f"fold {number} of {len(folds)} done")
    return found


def _features(
    labelled: LabelledRows, train_rows: Integers, test_rows: Integers
) -> tuple[FeatureSpace, Features, Features]:
    counts, vectors = labelled.counts.rows(train_rows), labelled.vectors[train_rows]
    space = FeatureSpace.fit(counts, vectors)
    test = space.features(labelled.counts.rows(test_rows), labelled.vectors[test_rows])
    return space, space.features(counts, vectors), test


def choose(
    labelled: LabelledRows,
    target: str,
    rows: Integers,
    out_of_fold: OutOfFold,
    options: TrainingOptions,
) -> tuple[Calibration, list[CandidateScore]]:
    """The winner, and the table of all candidates."""
    known = labelled.rows(target, rows)
    truth = labelled.codes[target][known]
    count = len(labelled.labels[target])
    table, calibrations = [], {}
    for name in candidates_for(target):
        calibration = calibrate(labelled, target, name, rows, out_of_fold, options)
        probability = calibration.probability[known]
        confusion = confusion_counts(truth, probability.argmax(axis=1), count)
        loss = log_loss(np.log(np.maximum(probability, 1e-12)), truth)
        table.append(CandidateScore(name, float(macro_f1(confusion)), loss))
        calibrations[name] = calibration
    best = max(score.macro_f1 for score in table)
    equals = [score for score in table if score.macro_f1 >= best - TIE]
    return calibrations[min(equals, key=lambda score: score.log_loss).name], table


def calibrate(  # noqa: PLR0917
    labelled: LabelledRows,
    target: str,
    candidate: str,
    rows: Integers,
    out_of_fold: OutOfFold,
    options: TrainingOptions,
) -> Calibration:
    known = labelled.rows(target, rows)
    truth = labelled.codes[target][known]
    scores = {name: out_of_fold.scores[target][name] for name in CANDIDATES[candidate]}
    own = {name: fit_temperature(found[known], truth) for name, found in scores.items()}
    combined = combined_scores(scores, own)
    temperature = fit_temperature(combined[known], truth)
    probability = probabilities(combined, temperature)
    thresholds = abstain_thresholds(probability[known], truth, options.target_precision)
    return Calibration(candidate, own, temperature, thresholds, probability)
