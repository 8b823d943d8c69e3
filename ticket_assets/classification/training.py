"""Trains the classifier: candidates compared, the best one judged on recent tickets, then refitted.

The order of events: the most recent share of the labelled tickets is put aside; candidates are
compared by cross-validation on the earlier part, whose out-of-fold scores give temperatures and
thresholds; the winner is judged on the tickets put aside; then it is refitted on everything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ticket_assets.classification.baselines import (
    most_frequent_by_category,
    most_frequent_by_topic,
)
from ticket_assets.classification.candidates import CANDIDATES, Expert, experts_for, fit_expert
from ticket_assets.classification.evaluation import (
    CandidateScore,
    Evaluation,
    TargetEvaluation,
    evaluate_target,
)
from ticket_assets.classification.features import FeatureSpace, Floats, Integers
from ticket_assets.classification.label_errors import suspected_label_errors
from ticket_assets.classification.prediction import Classifier, TargetModel
from ticket_assets.classification.preparation import (
    LabelledRows,
    drop_unlearnable_priority,
    prepare,
    split,
)
from ticket_assets.classification.selection import Calibration, calibrate, choose, cross_validate
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet, fingerprint
from ticket_assets.classification.vocabulary import (
    Vocabulary,
    build_vocabulary,
    leave_one_out_oov_share,
)

REFERENCE_ROWS = 2000


@dataclass(frozen=True)
class TrainedClassifier:
    """A candidate: the refitted model, and all that is needed to judge and to monitor it."""

    classifier: Classifier
    evaluation: Evaluation
    reference: pd.DataFrame
    """Up to 2,000 training tickets for drift: ticket_id, language, character_count, category,
    category_confidence (both out of fold), oov_share (leave one out), vector."""
    vocabulary: Vocabulary
    holdout: pd.DataFrame
    """Hold-out tickets as the model fitted on the earlier part saw them: ticket_id and, per target,
    <target>, <target>_predicted, <target>_confidence, <target>_automatic."""
    training_tickets: pd.DataFrame
    """Every ticket the final model was fitted on: ticket_id, text_group, and what it would look
    like had it not been learnt: category, category_confidence (out of fold), oov_share (leave one
    out)."""
    label_errors: pd.DataFrame
    """Labels in doubt, of all targets; columns as in `suspected_label_errors`."""
    fit_seconds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """CPU seconds per target and expert over the compared folds. Not saved: it differs each time.
    """


def train(
    training_set: TrainingSet,
    options: TrainingOptions,
    on_progress: Callable[[str], None] | None = None,
) -> TrainedClassifier:
    """The classifier that these labelled tickets give; deterministic on one machine.

    Raises:
        NotEnoughLabels: fewer than two categories have enough labelled tickets, or there is
            nothing to evaluate on. A priority that cannot be learnt is skipped and reported.
    """
    report = on_progress or (lambda message: None)
    # One thread: the matrices are small, and BLAS threads that wait for each other on a busy
    # machine made this up to 50 times slower. It also keeps the order of additions the same.
    with threadpool_limits(limits=1):
        return _train(training_set, options, report)


def _train(
    training_set: TrainingSet, options: TrainingOptions, report: Callable[[str], None]
) -> TrainedClassifier:
    labelled = prepare(training_set, options)
    earlier, holdout, copies = split(labelled, options)
    labelled = drop_unlearnable_priority(labelled, earlier, holdout)
    rows = len(labelled.tickets)
    report(f"{rows} labelled tickets: {len(earlier)} to train on, {len(holdout)} to evaluate on")
    if labelled.older_rows:
        report(
            f"{labelled.older_rows} older ones are left out (TICKETS_MAX_TRAINING_TICKETS="
            f"{options.max_tickets})"
        )

    every = {target: experts_for(target) for target in labelled.codes}
    compared = cross_validate(labelled, earlier, every, options, report)
    winners, tables = {}, {}
    for target in labelled.codes:
        winners[target], tables[target] = choose(labelled, target, earlier, compared, options)
        report(f"{target}: {winners[target].candidate} wins the cross-validation")
    judged = _fit(labelled, earlier, winners, training_set.encoder, options)

    # The deployed thresholds come from out-of-fold scores of all tickets: a quarter more evidence
    # than the earlier part alone, and the recent tickets are the ones most like tomorrow's.
    everything = np.arange(rows)
    needed = {target: CANDIDATES[winner.candidate] for target, winner in winners.items()}
    out_of_fold = cross_validate(labelled, everything, needed, options, report)
    deployed = {
        target: calibrate(labelled, target, winner.candidate, everything, out_of_fold, options)
        for target, winner in winners.items()
    }
    final = _fit(labelled, everything, deployed, training_set.encoder, options)
    report("final model fitted on all labelled tickets")

    predictions = _holdout_predictions(labelled, holdout, judged)
    evaluation = _evaluate(
        labelled=labelled,
        earlier=earlier,
        holdout=holdout,
        copies=copies,
        judged=judged,
        final=final,
        tables=tables,
        predictions=predictions,
        mark=fingerprint(training_set, options),
        options=options,
    )
    vocabulary = build_vocabulary(labelled.tickets["tokens"].tolist())
    unlearnt = _as_unlearnt(labelled, deployed["category"].probability, vocabulary)
    return TrainedClassifier(
        classifier=final,
        evaluation=evaluation,
        reference=_reference(unlearnt, labelled, options),
        vocabulary=vocabulary,
        holdout=predictions,
        training_tickets=unlearnt.drop(columns=["language", "character_count"]),
        label_errors=_label_errors(labelled, deployed),
        fit_seconds=compared.seconds,
    )


def _fit(
    labelled: LabelledRows,
    rows: Integers,
    calibrations: Mapping[str, Calibration],
    encoder: str,
    options: TrainingOptions,
) -> Classifier:
    counts, vectors = labelled.counts.rows(rows), labelled.vectors[rows]
    space = FeatureSpace.fit(counts, vectors)
    features = space.features(counts, vectors)
    targets = {}
    for target, calibration in calibrations.items():
        known = np.flatnonzero(labelled.codes[target][rows] >= 0)
        codes = labelled.codes[target][rows[known]]
        experts: tuple[Expert, ...] = tuple(
            fit_expert(name, features.rows(known), codes, options.seed)
            for name in CANDIDATES[calibration.candidate]
        )
        targets[target] = TargetModel(
            labels=labelled.labels[target],
            candidate=calibration.candidate,
            experts=experts,
            expert_temperatures=calibration.expert_temperatures,
            temperature=calibration.temperature,
            thresholds=calibration.thresholds,
        )
    return Classifier(encoder=encoder, space=space, targets=targets)


def _holdout_predictions(
    labelled: LabelledRows, holdout: Integers, judged: Classifier
) -> pd.DataFrame:
    tickets = labelled.tickets.iloc[holdout].reset_index(drop=True)
    features = judged.space.features(labelled.counts.rows(holdout), labelled.vectors[holdout])
    columns = {"ticket_id": tickets["ticket_id"], "text_group": tickets["text_group"]}
    for target, model in judged.targets.items():
        probability = model.probabilities(features)
        decided = model.decide(probability)
        columns[target] = tickets[target].where(tickets[target].isin(model.labels), None)
        columns[f"{target}_predicted"] = decided["label"]
        columns[f"{target}_confidence"] = decided["confidence"]
        columns[f"{target}_automatic"] = decided["automatic"]
        columns[f"{target}_probabilities"] = pd.Series(list(probability))
    return pd.DataFrame(columns)


def _evaluate(
    *,
    labelled: LabelledRows,
    earlier: Integers,
    holdout: Integers,
    copies: int,
    judged: Classifier,
    final: Classifier,
    tables: Mapping[str, list[CandidateScore]],
    predictions: pd.DataFrame,
    mark: str,
    options: TrainingOptions,
) -> Evaluation:
    targets: dict[str, TargetEvaluation] = {}
    predicted_category = _codes(predictions["category_predicted"], labelled.labels["category"])
    for target, model in judged.targets.items():
        mine = np.flatnonzero(labelled.codes[target][holdout] >= 0)
        rows = holdout[mine]
        training_rows = labelled.rows(target, earlier)
        targets[target] = evaluate_target(
            labels=model.labels,
            probability=np.stack(predictions[f"{target}_probabilities"].iloc[mine].tolist()),
            truth=labelled.codes[target][rows],
            training_codes=labelled.codes[target][training_rows],
            thresholds=model.thresholds,
            deployed_thresholds=final.targets[target].thresholds,
            ticket_ids=labelled.tickets["ticket_id"].iloc[rows].tolist(),
            languages=labelled.tickets["language"].iloc[rows].tolist(),
            category_only=(
                None
                if target == "category"
                else most_frequent_by_category(
                    labelled.codes["category"][training_rows],
                    labelled.codes[target][training_rows],
                    len(labelled.labels["category"]),
                )[predicted_category[mine]]
            ),
            topic_only=most_frequent_by_topic(
                labelled.vectors[training_rows],
                labelled.codes[target][training_rows],
                labelled.vectors[rows],
                options.seed,
                len(model.labels),
            ),
            ordered=target == "priority" and set(model.labels) <= set(options.priorities),
            winner=model.candidate,
            candidates=tables[target],
            temperature=model.temperature,
            excluded_classes=labelled.excluded[target],
            seed=options.seed,
        )
    received = labelled.tickets["received_at"]
    return Evaluation(
        encoder=final.encoder,
        fingerprint=mark,
        target_precision=options.target_precision,
        training_from=str(received.iloc[0]),
        training_to=str(received.iloc[-1]),
        holdout_from=str(received.iloc[holdout[0]]),
        holdout_to=str(received.iloc[holdout[-1]]),
        holdout_copies_dropped=copies,
        unusable_rows=labelled.unusable_rows,
        older_rows=labelled.older_rows,
        targets=targets,
        skipped_targets=labelled.skipped,
    )


def _codes(labels: pd.Series, names: Sequence[str]) -> Integers:
    return np.asarray(pd.Categorical(labels, categories=list(names)).codes, dtype=np.int64)


def _as_unlearnt(
    labelled: LabelledRows, probability: Floats, vocabulary: Vocabulary
) -> pd.DataFrame:
    """Each training ticket as the classifier would see it had it not learnt from it."""
    tickets = labelled.tickets
    codes = probability.argmax(axis=1)
    return pd.DataFrame(
        {
            "ticket_id": tickets["ticket_id"],
            "text_group": tickets["text_group"],
            "language": tickets["language"],
            "character_count": tickets["text"].str.len(),
            "category": np.array(labelled.labels["category"], dtype=object)[codes],
            "category_confidence": probability[np.arange(len(codes)), codes],
            "oov_share": leave_one_out_oov_share(tickets["tokens"].tolist(), vocabulary),
        }
    ).reset_index(drop=True)


def _label_errors(labelled: LabelledRows, out_of_fold: Mapping[str, Calibration]) -> pd.DataFrame:
    found = []
    for target, calibration in out_of_fold.items():
        known = np.flatnonzero(labelled.codes[target] >= 0)
        found.append(
            suspected_label_errors(
                target,
                labelled.labels[target],
                calibration.probability[known],
                labelled.codes[target][known],
                labelled.tickets["ticket_id"].iloc[known].tolist(),
            )
        )
    return pd.concat(found, ignore_index=True)


def _reference(
    unlearnt: pd.DataFrame, labelled: LabelledRows, options: TrainingOptions
) -> pd.DataFrame:
    generator = np.random.default_rng(options.seed)
    chosen = np.sort(generator.permutation(len(unlearnt))[:REFERENCE_ROWS])
    sampled = unlearnt.drop(columns="text_group").iloc[chosen].reset_index(drop=True)
    return sampled.assign(vector=pd.Series(list(labelled.vectors[chosen])))
