"""Trains the classifier: compares candidates, judges the best on recent tickets, then refits it.

1. A share of the labelled tickets, those of the newest wordings, is put aside.
2. Candidates are compared by cross-validation on the other part. Their out-of-fold scores give
   temperatures and thresholds.
3. The winner is fitted on the other part and judged on the tickets put aside.
4. It is fitted again on all of them, with thresholds from out-of-fold scores of all, in twice as
   many folds.

No wording is ever on both sides: a model that knows one near-copy is right about the others, which
says nothing about texts that nobody has written before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ticket_assets.classification.baselines import (
    most_frequent_by_category,
    most_frequent_by_topic,
)
from ticket_assets.classification.calibration import probabilities
from ticket_assets.classification.candidates import (
    CANDIDATES,
    Expert,
    combined_scores,
    experts_for,
    fit_expert,
)
from ticket_assets.classification.evaluation import (
    CandidateScore,
    Evaluation,
    TargetEvaluation,
    evaluate_target,
    target_name,
)
from ticket_assets.classification.familiarity import unlearnt_shares
from ticket_assets.classification.features import Floats, Integers
from ticket_assets.classification.label_errors import suspected_label_errors
from ticket_assets.classification.learnt_tickets import out_of_fold_columns
from ticket_assets.classification.prediction import Classifier, TargetModel
from ticket_assets.classification.preparation import (
    LabelledRows,
    Split,
    label_codes,
    prepare,
    split,
)
from ticket_assets.classification.selection import (
    Calibration,
    calibrate,
    choose,
    cross_validate,
    fit_space,
    simulated_thresholds,
)
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet, fingerprint
from ticket_assets.classification.vocabulary import (
    Vocabulary,
    build_vocabulary,
    leave_one_out_oov_share,
)

REFERENCE_ROWS = 2000
LEAST_REFERENCE_ROWS = 100
"""With fewer, chance alone would explain nearly any distance."""
MANY_TICKETS = 10_000
"""From here on a model that lacks a fifth of the tickets is hardly less sure than one with all."""


@dataclass(frozen=True)
class TrainedClassifier:
    """A candidate: the final model, and what it takes to judge and to monitor it."""

    classifier: Classifier
    evaluation: Evaluation
    reference: pd.DataFrame
    """Up to 2,000 training tickets for drift: ticket_id, language, character_count, category,
    category_confidence (both out of fold), oov_share (leave one out), wording, unlearnt_words,
    unlearnt_pairs (as if the wording had not been learnt), vector, folds, since."""
    vocabulary: Vocabulary
    holdout: pd.DataFrame
    """Hold-out tickets as the model fitted on the other part predicts them: ticket_id, text_group,
    wording and, per target, <target>, <target>_predicted, <target>_confidence, <target>_automatic,
    <target>_probabilities."""
    training_tickets: pd.DataFrame
    """Every ticket the final model was fitted on: ticket_id, text_group, wording (its number in
    this training), category and category_confidence (both out of fold), oov_share (leave one
    out), and the columns of `out_of_fold_columns`."""
    label_errors: pd.DataFrame
    """Labels in doubt, of all targets; columns as in `suspected_label_errors`."""

    @property
    def reference_from(self) -> date | None:
        """The day from which on mail is compared with the reference; None for all days."""
        since = str(self.reference["since"].iloc[0]) if "since" in self.reference else ""
        return date.fromisoformat(since) if since else None


def train(
    training_set: TrainingSet,
    options: TrainingOptions,
    on_progress: Callable[[str], None] | None = None,
    *,
    reference_from: date | None = None,
) -> TrainedClassifier:
    """The classifier that these labelled tickets give; deterministic on one machine.

    Args:
        reference_from: the day since which mail is other than before. The drift reference is then
            of tickets received from that day on, where enough of them have a label: compared with
            a mixture of former and present mail, the present would go on drifting.

    Raises:
        NotEnoughLabels: fewer than two categories have enough labelled tickets, or there is
            nothing to evaluate on. A priority that cannot be learnt is skipped and reported.
    """
    report = on_progress or (lambda message: None)
    # One thread: the matrices are small, and BLAS threads that wait for each other on a busy
    # machine made this up to 50 times slower. It also keeps the order of additions the same.
    with threadpool_limits(limits=1):
        return _train(training_set, options, report, reference_from)


def _train(
    training_set: TrainingSet,
    options: TrainingOptions,
    report: Callable[[str], None],
    reference_from: date | None,
) -> TrainedClassifier:
    parts = split(prepare(training_set, options), options)
    labelled = parts.labelled
    rows = np.arange(len(labelled.tickets))
    report(
        f"{len(rows)} labelled tickets: {len(parts.earlier)} to train on,"
        f" {len(parts.holdout)} to evaluate on"
    )
    if labelled.older_rows:
        report(
            f"{labelled.older_rows} older ones are left out (TICKETS_MAX_TRAINING_TICKETS="
            f"{options.max_tickets})"
        )
    winners, scores = _compare_candidates(parts, options, report)
    judged = _fit(labelled, parts.earlier, winners, training_set.encoder, options)
    calibrations = _calibrate(labelled, rows, winners, options, report)
    category = _with_known_wordings(labelled, rows, calibrations["category"], options, report)
    final = _fit(labelled, rows, calibrations, training_set.encoder, options)
    report("final model fitted on all labelled tickets")

    predictions = _holdout_predictions(parts, judged)
    evaluation = _evaluate(
        parts,
        judged=judged,
        final=final,
        scores=scores,
        predictions=predictions,
        digest=fingerprint(training_set, options),
        options=options,
    )
    evaluation = _with_simulated_thresholds(evaluation, calibrations)
    vocabulary = build_vocabulary(labelled.tickets["tokens"].tolist())
    unlearnt = _as_unlearnt(labelled, category.probability, vocabulary)
    return TrainedClassifier(
        classifier=final,
        evaluation=evaluation,
        reference=_reference(unlearnt, labelled, options, reference_from),
        vocabulary=vocabulary,
        holdout=predictions,
        training_tickets=pd.concat(
            [
                unlearnt.drop(columns=["language", "character_count"]),
                out_of_fold_columns(
                    {target: each.probability for target, each in calibrations.items()}
                    | {"category": category.probability}
                ),
            ],
            axis=1,
        ),
        label_errors=_label_errors(labelled, {**calibrations, "category": category}),
    )


def _compare_candidates(
    parts: Split, options: TrainingOptions, report: Callable[[str], None]
) -> tuple[dict[str, Calibration], dict[str, list[CandidateScore]]]:
    """Per target the winner of the cross-validation on the earlier part, and all scores."""
    labelled, earlier = parts.labelled, parts.earlier
    experts = {target: experts_for(target) for target in labelled.codes}
    out_of_fold = cross_validate(labelled, earlier, experts, options, report)
    winners, scores = {}, {}
    for target in labelled.codes:
        winners[target], scores[target] = choose(labelled, target, earlier, out_of_fold, options)
        report(f"{target}: {winners[target].candidate} wins the cross-validation")
    return winners, scores


def _calibrate(
    labelled: LabelledRows,
    rows: Integers,
    winners: Mapping[str, Calibration],
    options: TrainingOptions,
    report: Callable[[str], None],
) -> dict[str, Calibration]:
    """The winners with the temperatures and thresholds of the final model.

    They come from out-of-fold scores of all tickets: a quarter more evidence than the earlier part
    alone, and the recent tickets are the ones most like tomorrow's. Twice as many folds bring their
    models closer to the final one, which is surer, having learnt from more: with 5 folds the mean
    confidence out of fold lay 0.01 below that of new mail, and up to 61 % of quiet windows of 2,000
    tickets counted as drift; with 10 it lay 0.00 to 0.01 below.
    """
    experts = {target: CANDIDATES[winner.candidate] for target, winner in winners.items()}
    options = replace(options, folds=final_folds(len(rows), options))
    out_of_fold = cross_validate(labelled, rows, experts, options, report)
    calibrations = {}
    for target, winner in winners.items():
        calibration = calibrate(labelled, target, winner.candidate, rows, out_of_fold, options)
        probability = calibration.probability
        simulated = simulated_thresholds(labelled, target, rows, probability, options)
        calibrations[target] = replace(calibration, simulated=simulated)
    return calibrations


def _with_known_wordings(
    labelled: LabelledRows,
    rows: Integers,
    calibration: Calibration,
    options: TrainingOptions,
    report: Callable[[str], None],
) -> Calibration:
    """The category's calibration with the probabilities out of fold that new mail gets.

    Most new mail is in a wording that the final model knows, and it is surer of it. So these folds
    keep templates together and not wordings: drift is measured against them, and a label is not in
    doubt that all near-copies share.
    """
    if np.array_equal(labelled.groups, labelled.templates):
        return calibration
    out_of_fold = cross_validate(
        replace(labelled, groups=labelled.templates),
        rows,
        {"category": CANDIDATES[calibration.candidate]},
        replace(options, folds=final_folds(len(rows), options)),
        report,
    )
    scores = combined_scores(out_of_fold["category"], calibration.expert_temperatures)
    return replace(calibration, probability=probabilities(scores, calibration.temperature))


def final_folds(tickets: int, options: TrainingOptions) -> int:
    """The folds of the scores that calibrate the final model and are the drift reference."""
    return options.folds * (1 if tickets >= MANY_TICKETS else 2)


def _fit(
    labelled: LabelledRows,
    rows: Integers,
    calibrations: Mapping[str, Calibration],
    encoder: str,
    options: TrainingOptions,
) -> Classifier:
    space, features = fit_space(labelled, rows)
    targets = {}
    for target, calibration in calibrations.items():
        labelled_rows, codes = labelled.positions(target, rows)
        experts: tuple[Expert, ...] = tuple(
            fit_expert(name, features.rows(labelled_rows), codes, options.seed)
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


def _holdout_predictions(parts: Split, judged: Classifier) -> pd.DataFrame:
    labelled, holdout = parts.labelled, parts.holdout
    tickets = labelled.tickets.iloc[holdout].reset_index(drop=True)
    features = judged.space.features(labelled.counts.rows(holdout), labelled.vectors[holdout])
    columns = {
        "ticket_id": tickets["ticket_id"],
        "text_group": tickets["text_group"],
        "wording": labelled.groups[holdout],
    }
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
    parts: Split,
    *,
    judged: Classifier,
    final: Classifier,
    scores: Mapping[str, list[CandidateScore]],
    predictions: pd.DataFrame,
    digest: str,
    options: TrainingOptions,
) -> Evaluation:
    labelled, holdout = parts.labelled, parts.holdout
    received = labelled.tickets["received_at"]
    return Evaluation(
        encoder=final.encoder,
        fingerprint=digest,
        target_precision=options.target_precision,
        training_from=str(received.iloc[0]),
        training_to=str(received.iloc[-1]),
        holdout_from=str(received.iloc[holdout[0]]),
        holdout_to=str(received.iloc[holdout[-1]]),
        holdout_copies_dropped=parts.copies,
        unusable_rows=labelled.unusable_rows,
        older_rows=labelled.older_rows,
        wordings=int(labelled.groups.max()) + 1,
        targets={
            target: _evaluate_target(
                parts, target, judged, final.targets[target], scores[target], predictions, options
            )
            for target in judged.targets
        },
        skipped_targets=labelled.skipped,
        precision_risk=options.precision_risk,
        confidence_floor=options.confidence_floor,
    )


def _with_simulated_thresholds(
    evaluation: Evaluation, calibrations: Mapping[str, Calibration]
) -> Evaluation:
    targets = {
        target: replace(
            scores,
            simulated_thresholds={
                target_name(precision): tuple(map(float, thresholds))
                for precision, thresholds in calibrations[target].simulated.items()
            },
        )
        for target, scores in evaluation.targets.items()
    }
    return replace(evaluation, targets=targets)


def _evaluate_target(  # noqa: PLR0917
    parts: Split,
    target: str,
    judged: Classifier,
    final: TargetModel,
    scores: list[CandidateScore],
    predictions: pd.DataFrame,
    options: TrainingOptions,
) -> TargetEvaluation:
    labelled, model = parts.labelled, judged.targets[target]
    judged_rows, truth = labelled.positions(target, parts.holdout)
    rows = parts.holdout[judged_rows]
    training_rows = labelled.rows(target, parts.earlier)
    training_codes = labelled.codes[target][training_rows]
    predictions = predictions.iloc[judged_rows]
    all_codes = range(len(model.labels))
    category_only = None
    if target != "category":
        categories = labelled.labels["category"]
        category_only = most_frequent_by_category(
            labelled.codes["category"][training_rows], training_codes, len(categories)
        )[label_codes(predictions["category_predicted"], categories)]
    return evaluate_target(
        labels=model.labels,
        probability=np.stack(predictions[f"{target}_probabilities"].tolist()),
        truth=truth,
        training_codes=training_codes,
        thresholds=model.thresholds,
        deployed_thresholds=final.thresholds,
        ticket_ids=labelled.tickets["ticket_id"].iloc[rows].tolist(),
        languages=labelled.tickets["language"].iloc[rows].tolist(),
        category_only=category_only,
        topic_only=most_frequent_by_topic(
            labelled.vectors[training_rows],
            training_codes,
            labelled.vectors[rows],
            options.seed,
            len(model.labels),
        ),
        ordered=target == "priority" and set(model.labels) <= set(options.priorities),
        label_tickets=[int((labelled.codes[target] == code).sum()) for code in all_codes],
        label_wordings=[labelled.wording_count(target, code) for code in all_codes],
        winner=model.candidate,
        candidates=scores,
        temperature=model.temperature,
        excluded_classes=labelled.excluded[target],
        seed=options.seed,
    )


def _as_unlearnt(
    labelled: LabelledRows, probability: Floats, vocabulary: Vocabulary
) -> pd.DataFrame:
    """Each training ticket as a classifier that has not learnt from it predicts it."""
    tickets = labelled.tickets
    codes = probability.argmax(axis=1)
    return pd.DataFrame(
        {
            "ticket_id": tickets["ticket_id"],
            "text_group": tickets["text_group"],
            "wording": labelled.groups,
            "language": tickets["language"],
            "character_count": tickets["text"].str.len(),
            "category": np.array(labelled.labels["category"], dtype=object)[codes],
            "category_confidence": probability[np.arange(len(codes)), codes],
            "oov_share": leave_one_out_oov_share(tickets["tokens"].tolist(), vocabulary),
        }
    ).reset_index(drop=True)


def _label_errors(labelled: LabelledRows, calibrations: Mapping[str, Calibration]) -> pd.DataFrame:
    doubts = []
    for target, calibration in calibrations.items():
        rows = np.flatnonzero(labelled.codes[target] >= 0)
        doubts.append(
            suspected_label_errors(
                target,
                labelled.labels[target],
                calibration.probability[rows],
                labelled.codes[target][rows],
                labelled.tickets["ticket_id"].iloc[rows].tolist(),
            )
        )
    return pd.concat(doubts, ignore_index=True)


def _reference(
    unlearnt: pd.DataFrame, labelled: LabelledRows, options: TrainingOptions, since: date | None
) -> pd.DataFrame:
    rows = np.arange(len(unlearnt))
    if since is not None:
        recent = rows[(labelled.tickets["received_at"] >= pd.Timestamp(since)).to_numpy()]
        rows, since = (recent, since) if len(recent) >= LEAST_REFERENCE_ROWS else (rows, None)
    generator = np.random.default_rng(options.seed)
    rows = np.sort(generator.permutation(rows)[:REFERENCE_ROWS])
    sample = unlearnt.drop(columns=["text_group", "wording"]).iloc[rows].reset_index(drop=True)
    shares = unlearnt_shares(labelled.tickets, labelled.counts, labelled.groups, rows)
    return sample.join(shares).assign(
        vector=pd.Series(list(labelled.vectors[rows])),
        folds=final_folds(len(unlearnt), options),
        since=since.isoformat() if since else "",
    )
