"""Trains the classifier: candidates compared, the best one judged on recent tickets, then refitted.

The order of events: the most recent share of the labelled tickets is put aside; candidates are
compared by cross-validation on the earlier part, whose out-of-fold scores give temperatures and
thresholds; the winner is judged on the tickets put aside; then it is refitted on everything.
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pandas as pd
import sklearn
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ticket_assets.classification.calibration import (
    abstain_thresholds,
    fit_temperature,
    log_loss,
    probabilities,
)
from ticket_assets.classification.candidates import (
    CANDIDATES,
    EXPERTS,
    Expert,
    combined_scores,
    fit_expert,
)
from ticket_assets.classification.evaluation import (
    CandidateScore,
    Evaluation,
    TargetEvaluation,
    confusion_counts,
    evaluate_target,
    macro_f1,
)
from ticket_assets.classification.features import (
    Features,
    FeatureSpace,
    Floats,
    Integers,
    TermCounts,
    count_terms,
)
from ticket_assets.classification.prediction import TARGETS, Classifier, TargetModel
from ticket_assets.classification.vocabulary import (
    Vocabulary,
    build_vocabulary,
    leave_one_out_oov_share,
)
from ticket_assets.errors import TicketAssetsError

CODE_VERSION = 1
"""Raise it when the same tickets and options would give another model."""
REFERENCE_ROWS = 2000
TIE = 0.005
"""Candidates this close in macro-F1 are equals; the better log-loss then decides."""
IMPORT_HINT = "Import the desk's past tickets with their labels, or correct more predictions."


class NotEnoughLabels(TicketAssetsError):  # noqa: N818 - named for what the person lacks
    """There are too few labelled tickets to train on."""


@dataclass(frozen=True)
class TrainingSet:
    """Labelled tickets and their vectors, row by row.

    `tickets`: ticket_id, received_at, text, tokens, language, category, priority (labels may be
    null per row). `vectors`: float32, shape (rows, d), from the encoder named `encoder`.
    """

    tickets: pd.DataFrame
    vectors: Floats
    encoder: str


@dataclass(frozen=True)
class TrainingOptions:
    seed: int = 7
    target_precision: float = 0.95
    holdout_share: float = 0.2
    min_class_tickets: int = 10
    folds: int = 5
    priorities: tuple[str, ...] = ()
    """Priorities from least to most urgent: the order of tables. Others follow by name."""


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
    fit_seconds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """CPU seconds per target and expert over the compared folds. Not saved: it differs each time.
    """


@dataclass(frozen=True)
class _Labelled:
    """The usable rows in order of time, counted and coded; code -1 is a missing label."""

    tickets: pd.DataFrame
    vectors: Floats
    counts: TermCounts
    groups: Integers
    labels: Mapping[str, tuple[str, ...]]
    codes: Mapping[str, Integers]
    excluded: Mapping[str, Mapping[str, int]]
    skipped: Mapping[str, str]
    unusable_rows: int

    def rows(self, target: str, rows: Integers) -> Integers:
        """Those of `rows` whose label of this target is known."""
        return rows[self.codes[target][rows] >= 0]


@dataclass
class _OutOfFold:
    """Out-of-fold scores per target and expert, shape (rows, labels); NaN where not computed."""

    scores: dict[str, dict[str, Floats]]
    seconds: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Calibration:
    """What out-of-fold scores say about a candidate for one target."""

    candidate: str
    expert_temperatures: dict[str, float]
    temperature: float
    thresholds: Floats
    probability: Floats
    """Out of fold, shape (all rows, labels)."""


def fingerprint(training_set: TrainingSet, options: TrainingOptions) -> str:
    """SHA-256 (hex) of all that decides the model: the same fingerprint is the same model.

    Vectors are not read: the encoder's name and the texts stand for them.
    """
    about = {"code": CODE_VERSION, "sklearn": sklearn.__version__, "encoder": training_set.encoder}
    digest = hashlib.sha256(json.dumps({**about, **asdict(options)}, sort_keys=True).encode())
    tickets = _in_order_of_time(training_set.tickets)
    columns = ["ticket_id", "received_at", "text", "tokens", "language", *TARGETS]
    for row in tickets[columns].itertuples(index=False, name=None):
        values = [None if pd.isna(value) else str(value) for value in row]
        digest.update(json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def text_groups(texts: Sequence[str], tokens: Sequence[str]) -> list[str]:
    """Per ticket the hash of its different tokens without digits, in alphabetical order.

    Mails from one template that differ in numbers, dates or word order share a group. A ticket
    without such tokens is grouped by its lower-case text.
    """
    groups = []
    for text, words in zip(texts, tokens, strict=True):
        known = {word for word in words.split() if not any(c.isdigit() for c in word)}
        key = " ".join(sorted(known)) or text.strip().lower()
        groups.append(hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:20])
    return groups


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
    labelled = _prepare(training_set, options)
    earlier, holdout, copies = _split(labelled, options)
    labelled = _drop_unlearnable_priority(labelled, earlier, holdout)
    rows = len(labelled.tickets)
    report(f"{rows} labelled tickets: {len(earlier)} to train on, {len(holdout)} to evaluate on")

    every = dict.fromkeys(labelled.codes, EXPERTS)
    compared = _cross_validate(labelled, earlier, every, options, report)
    winners, tables = {}, {}
    for target in labelled.codes:
        winners[target], tables[target] = _choose(labelled, target, earlier, compared, options)
        report(f"{target}: {winners[target].candidate} wins the cross-validation")
    judged = _fit(labelled, earlier, winners, training_set.encoder, options)

    # The deployed thresholds come from out-of-fold scores of all tickets: a quarter more evidence
    # than the earlier part alone, and the recent tickets are the ones most like tomorrow's.
    everything = np.arange(rows)
    needed = {target: CANDIDATES[winner.candidate] for target, winner in winners.items()}
    out_of_fold = _cross_validate(labelled, everything, needed, options, report)
    deployed = {
        target: _calibrate(labelled, target, winner.candidate, everything, out_of_fold, options)
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
        fit_seconds=compared.seconds,
    )


def _in_order_of_time(tickets: pd.DataFrame) -> pd.DataFrame:
    # The id breaks ties, so that the order of the input never matters.
    return tickets.sort_values(["received_at", "ticket_id"], kind="stable")


def _prepare(training_set: TrainingSet, options: TrainingOptions) -> _Labelled:
    ordered = _in_order_of_time(training_set.tickets.reset_index(drop=True))
    groups = text_groups(ordered["text"].tolist(), ordered["tokens"].tolist())
    ordered = ordered.assign(text_group=groups)
    learnable, few = _learnable(ordered, "category", options.min_class_tickets)
    if len(learnable) < 2:
        raise NotEnoughLabels(_lack("category", learnable, few, options))
    usable = ordered[ordered["category"].isin(learnable)]
    labels = {"category": tuple(sorted(learnable))}
    excluded = {"category": few}
    skipped = {}
    priorities, few_priorities = _learnable(usable, "priority", options.min_class_tickets)
    if len(priorities) >= 2:
        known = [priority for priority in options.priorities if priority in priorities]
        labels["priority"] = (*known, *sorted(set(priorities) - set(known)))
        excluded["priority"] = few_priorities
    else:
        skipped["priority"] = _lack("priority", priorities, few_priorities, options)
    labels_given = ordered[list(TARGETS)].notna().any(axis=1)
    return _Labelled(
        tickets=usable.reset_index(drop=True),
        vectors=np.asarray(training_set.vectors, dtype=np.float32)[usable.index.to_numpy()],
        counts=count_terms(usable["text"].tolist()),
        groups=pd.factorize(usable["text_group"])[0],
        labels=labels,
        codes={
            target: np.asarray(
                pd.Categorical(usable[target], categories=list(names)).codes, np.int64
            )
            for target, names in labels.items()
        },
        excluded=excluded,
        skipped=skipped,
        unusable_rows=int(labels_given.sum()) - len(usable),
    )


def _learnable(tickets: pd.DataFrame, target: str, least: int) -> tuple[list[str], dict[str, int]]:
    """Labels with at least `least` different texts, and the others with their ticket counts."""
    texts = tickets.groupby(target)["text_group"].nunique()
    counts = tickets[target].value_counts()
    few = {str(label): int(counts[label]) for label in texts.index[texts < least]}
    return [str(label) for label in texts.index[texts >= least]], few


def _lack(
    target: str, learnable: Sequence[str], few: Mapping[str, int], options: TrainingOptions
) -> str:
    found = ", ".join([*learnable, *(f"{label} ({count})" for label, count in few.items())])
    return (
        f"Cannot learn the {target}: at least 2 labels need {options.min_class_tickets} tickets "
        f"with different texts each (TICKETS_MIN_CLASS_TICKETS), and {len(learnable)} have them; "
        f"labels seen: {found or 'none'}. {IMPORT_HINT}"
    )


def _split(labelled: _Labelled, options: TrainingOptions) -> tuple[Integers, Integers, int]:
    """Rows of the earlier part, rows of the hold-out, and how many copies the latter lost."""
    rows = len(labelled.tickets)
    cut = rows - max(1, round(rows * options.holdout_share))
    earlier, recent = np.arange(cut), np.arange(cut, rows)
    copies = np.isin(labelled.groups[recent], labelled.groups[earlier])
    holdout = recent[~copies]
    if len(holdout) == 0:
        raise NotEnoughLabels(
            f"Nothing to evaluate on: each of the {len(recent)} most recent labelled tickets is a "
            f"copy of an earlier one. {IMPORT_HINT}"
        )
    codes = labelled.codes["category"][earlier]
    if len(np.unique(codes)) < 2:
        raise NotEnoughLabels(
            f"The {cut} earlier labelled tickets have one category only, so nothing can be learnt "
            f"that the {len(recent)} most recent ones could test. {IMPORT_HINT}"
        )
    return earlier, holdout, int(copies.sum())


def _drop_unlearnable_priority(
    labelled: _Labelled, earlier: Integers, holdout: Integers
) -> _Labelled:
    if "priority" not in labelled.codes:
        return labelled
    known = labelled.rows("priority", earlier)
    different = (
        pd.Series(labelled.groups[known]).groupby(labelled.codes["priority"][known]).nunique()
    )
    if (different >= 2).sum() >= 2 and len(labelled.rows("priority", holdout)):
        return labelled
    reason = (
        "Cannot learn the priority: before the hold-out begins, or in it, too few tickets have "
        f"one. {IMPORT_HINT}"
    )
    return replace(
        labelled,
        codes={"category": labelled.codes["category"]},
        labels={"category": labelled.labels["category"]},
        skipped={**labelled.skipped, "priority": reason},
    )


def _folds(
    labelled: _Labelled, rows: Integers, options: TrainingOptions
) -> list[tuple[Integers, Integers]]:
    """Train and test rows of each fold: categories spread evenly, text groups never split."""
    codes, groups = labelled.codes["category"][rows], labelled.groups[rows]
    count = max(2, min(options.folds, int(np.bincount(codes).max()), len(np.unique(groups))))
    folds = StratifiedGroupKFold(count, shuffle=True, random_state=options.seed)
    with warnings.catch_warnings():
        # A category with fewer tickets than folds is allowed here; it is reported as uncertain.
        warnings.simplefilter("ignore", UserWarning)
        return [(rows[train], rows[test]) for train, test in folds.split(codes, codes, groups)]


def _cross_validate(
    labelled: _Labelled,
    rows: Integers,
    experts: Mapping[str, Sequence[str]],
    options: TrainingOptions,
    report: Callable[[str], None],
) -> _OutOfFold:
    """Out-of-fold scores; a fold's features are made once for all experts and targets."""
    size = len(labelled.tickets)
    found = _OutOfFold(
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
    labelled: _Labelled, train_rows: Integers, test_rows: Integers
) -> tuple[FeatureSpace, Features, Features]:
    counts, vectors = labelled.counts.rows(train_rows), labelled.vectors[train_rows]
    space = FeatureSpace.fit(counts, vectors)
    test = space.features(labelled.counts.rows(test_rows), labelled.vectors[test_rows])
    return space, space.features(counts, vectors), test


def _choose(
    labelled: _Labelled,
    target: str,
    rows: Integers,
    out_of_fold: _OutOfFold,
    options: TrainingOptions,
) -> tuple[_Calibration, list[CandidateScore]]:
    """The winner, and the table of all candidates."""
    known = labelled.rows(target, rows)
    truth = labelled.codes[target][known]
    count = len(labelled.labels[target])
    table, calibrations = [], {}
    for name in CANDIDATES:
        calibration = _calibrate(labelled, target, name, rows, out_of_fold, options)
        probability = calibration.probability[known]
        confusion = confusion_counts(truth, probability.argmax(axis=1), count)
        loss = log_loss(np.log(np.maximum(probability, 1e-12)), truth)
        table.append(CandidateScore(name, float(macro_f1(confusion)), loss))
        calibrations[name] = calibration
    best = max(score.macro_f1 for score in table)
    equals = [score for score in table if score.macro_f1 >= best - TIE]
    return calibrations[min(equals, key=lambda score: score.log_loss).name], table


def _calibrate(  # noqa: PLR0917
    labelled: _Labelled,
    target: str,
    candidate: str,
    rows: Integers,
    out_of_fold: _OutOfFold,
    options: TrainingOptions,
) -> _Calibration:
    known = labelled.rows(target, rows)
    truth = labelled.codes[target][known]
    scores = {name: out_of_fold.scores[target][name] for name in CANDIDATES[candidate]}
    own = {name: fit_temperature(found[known], truth) for name, found in scores.items()}
    combined = combined_scores(scores, own)
    temperature = fit_temperature(combined[known], truth)
    probability = probabilities(combined, temperature)
    thresholds = abstain_thresholds(probability[known], truth, options.target_precision)
    return _Calibration(candidate, own, temperature, thresholds, probability)


def _fit(
    labelled: _Labelled,
    rows: Integers,
    calibrations: Mapping[str, _Calibration],
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
    labelled: _Labelled, holdout: Integers, judged: Classifier
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
    labelled: _Labelled,
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
        targets=targets,
        skipped_targets=labelled.skipped,
    )


def most_frequent_by_category(
    categories: Integers, codes: Integers, category_count: int
) -> Integers:
    """Per category the most frequent code, the overall one where a category has none."""
    overall = int(np.bincount(codes).argmax())
    return np.array(
        [
            int(np.bincount(codes[categories == category]).argmax())
            if (categories == category).any()
            else overall
            for category in range(category_count)
        ]
    )


def _codes(labels: pd.Series, names: Sequence[str]) -> Integers:
    return np.asarray(pd.Categorical(labels, categories=list(names)).codes, dtype=np.int64)


def _as_unlearnt(labelled: _Labelled, probability: Floats, vocabulary: Vocabulary) -> pd.DataFrame:
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


def _reference(
    unlearnt: pd.DataFrame, labelled: _Labelled, options: TrainingOptions
) -> pd.DataFrame:
    generator = np.random.default_rng(options.seed)
    chosen = np.sort(generator.permutation(len(unlearnt))[:REFERENCE_ROWS])
    sampled = unlearnt.drop(columns="text_group").iloc[chosen].reset_index(drop=True)
    return sampled.assign(vector=pd.Series(list(labelled.vectors[chosen])))
