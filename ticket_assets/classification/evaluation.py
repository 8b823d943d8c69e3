"""How good a classifier is on tickets it has not learnt from: figures and markdown tables."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ticket_assets.classification.calibration import (
    ALWAYS_REVIEW,
    expected_calibration_error,
    reliability,
)
from ticket_assets.classification.features import Booleans, Floats, Integers
from ticket_assets.markdown import Markdown, bold, markdown_table

BOOTSTRAP_SAMPLES = 1000
MISTAKES_SHOWN = 10


@dataclass(frozen=True)
class CandidateScore:
    """A candidate in the cross-validation; log-loss after its temperature."""

    name: str
    macro_f1: float
    log_loss: float


@dataclass(frozen=True)
class ClassScore:
    """One label on the hold-out; coverage and auto_precision count the tickets predicted as it."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int
    threshold: float
    """Threshold these figures were measured with."""
    deployed_threshold: float
    """Threshold of the final model, from all labelled tickets."""
    coverage: float
    auto_precision: float | None
    labelled_tickets: int | None = None
    """All that have this label, learnt from or put aside; None in evaluations of former releases,
    as `wordings`."""
    wordings: int | None = None
    """Independent wordings among them: near-copies are one."""


@dataclass(frozen=True)
class LanguageScore:
    language: str
    rows: int
    accuracy: float
    macro_f1: float


@dataclass(frozen=True)
class Mistake:
    ticket_id: str
    label: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class OrderErrors:
    """Errors of a target whose labels have an order, as shares of the tickets."""

    mean_rank_error: float
    """Mean number of levels between the true and the predicted label."""
    called_far_too_low: float
    """Predicted two levels or more below the truth."""
    highest_called_lower: float | None
    """Share of the tickets of the highest label alone; None where there are none."""


@dataclass(frozen=True)
class TargetEvaluation:
    """How well one target (category or priority) is predicted on the hold-out."""

    labels: tuple[str, ...]
    winner: str
    candidates: tuple[CandidateScore, ...]
    training_rows: int
    holdout_rows: int
    accuracy: float
    macro_f1: float
    macro_f1_low: float
    macro_f1_high: float
    baseline_accuracy: float
    baseline_macro_f1: float
    category_only_accuracy: float | None
    category_only_macro_f1: float | None
    topic_only_accuracy: float
    topic_only_macro_f1: float
    order_errors: OrderErrors | None
    """None where the labels have no order."""
    top2_accuracy: float
    ece: float
    coverage: float
    auto_precision: float | None
    temperature: float
    per_class: tuple[ClassScore, ...]
    per_language: tuple[LanguageScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Rows: true label, columns: predicted label, in the order of `labels`."""
    reliability: tuple[tuple[float, float, int], ...]
    """(mean confidence, accuracy, rows) of each non-empty confidence bin."""
    precision_by_coverage: tuple[tuple[float, float], ...]
    """(coverage, accuracy) when only the most confident share of the hold-out is decided."""
    confident_mistakes: tuple[Mistake, ...]
    excluded_classes: Mapping[str, int]
    """Labels with too few tickets to learn, with their ticket counts."""
    least_sure_rows: int = 0
    """A tenth of the tickets that are confident enough to decide, at least one of them."""
    least_sure_precision: float | None = None
    """Share of these, the least confident tenth, that are right; None without any."""
    simulated_thresholds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """By target precision as `target_name` writes it, the thresholds of the labels that it would
    give the model in use; none in evaluations of former releases."""


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of a candidate classifier; `to_dict` is ready for JSON."""

    encoder: str
    fingerprint: str
    target_precision: float
    training_from: str
    """Receipt of the first labelled ticket (UTC); `training_to`: of the last."""
    training_to: str
    holdout_from: str
    holdout_to: str
    holdout_copies_dropped: int
    """Recent tickets not evaluated, because an earlier one has the same wording."""
    unusable_rows: int
    """Tickets with a label but without a category that can be learnt."""
    older_rows: int
    """Labelled tickets left out because they are older than the most recent ones learnt from."""
    targets: Mapping[str, TargetEvaluation]
    skipped_targets: Mapping[str, str]
    """Targets that could not be learnt, each with the reason."""
    precision_risk: float = 1.0
    """Chance, at most, that a label's threshold misses the target precision; of models of former
    versions nothing is known."""
    confidence_floor: float = 0.0
    wordings: int | None = None
    """Independent wordings of the labelled tickets. None in evaluations of former releases, which
    judged on near-copies of what the model had learnt."""

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Evaluation:
        targets = {name: _target_from_dict(part) for name, part in content["targets"].items()}
        return cls(**{**content, "targets": targets})


def target_name(precision: float) -> str:
    """A target precision as the key of its thresholds, like 0.95 or 0.995."""
    return f"{precision:g}"


def _target_from_dict(content: Mapping[str, Any]) -> TargetEvaluation:
    return TargetEvaluation(
        **{
            **content,
            "labels": tuple(content["labels"]),
            "order_errors": content["order_errors"] and OrderErrors(**content["order_errors"]),
            "candidates": tuple(CandidateScore(**part) for part in content["candidates"]),
            "per_class": tuple(ClassScore(**part) for part in content["per_class"]),
            "per_language": tuple(LanguageScore(**part) for part in content["per_language"]),
            "confident_mistakes": tuple(Mistake(**part) for part in content["confident_mistakes"]),
            "simulated_thresholds": {
                precision: tuple(thresholds)
                for precision, thresholds in content.get("simulated_thresholds", {}).items()
            },
            "confusion": tuple(tuple(row) for row in content["confusion"]),
            "reliability": tuple((mean, share, n) for mean, share, n in content["reliability"]),
            "precision_by_coverage": tuple((x, y) for x, y in content["precision_by_coverage"]),
        }
    )


def confusion_counts(truth: Integers, predicted: Integers, class_count: int) -> Integers:
    """Rows true, columns predicted; shape (class_count, class_count)."""
    pairs = truth.astype(np.int64) * class_count + predicted
    return np.bincount(pairs, minlength=class_count**2).reshape(class_count, class_count)


def class_scores(confusion: Integers) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 per class; 0 where undefined. Leading axes are kept."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(float)
    predicted = confusion.sum(axis=-2)
    support = confusion.sum(axis=-1)
    precision = hits / np.maximum(predicted, 1)
    recall = hits / np.maximum(support, 1)
    return precision, recall, 2 * hits / np.maximum(predicted + support, 1)


def macro_f1(confusion: Integers) -> Floats:
    """Mean F1 over the classes that occur in the truth. Leading axes are kept."""
    occurs = confusion.sum(axis=-1) > 0
    f1 = class_scores(confusion)[2]
    return np.asarray((f1 * occurs).sum(axis=-1) / np.maximum(occurs.sum(axis=-1), 1))


def bootstrap_macro_f1(
    truth: Integers, predicted: Integers, class_count: int, samples: Integers
) -> Floats:
    """Macro-F1 of each resample; `samples` holds row positions, shape (resamples, rows)."""
    cells = class_count**2
    pairs = (truth.astype(np.int64) * class_count + predicted)[samples]
    offsets = np.arange(len(samples))[:, np.newaxis] * cells
    counts = np.bincount((pairs + offsets).ravel(), minlength=len(samples) * cells)
    return macro_f1(counts.reshape(len(samples), class_count, class_count))


def bootstrap_samples(rows: int, seed: int) -> Integers:
    """Row positions drawn with replacement, shape (BOOTSTRAP_SAMPLES, rows)."""
    return np.random.default_rng(seed).integers(0, rows, (BOOTSTRAP_SAMPLES, rows))


def evaluate_target(
    *,
    labels: tuple[str, ...],
    probability: Floats,
    truth: Integers,
    training_codes: Integers,
    thresholds: Floats,
    deployed_thresholds: Floats,
    ticket_ids: Sequence[str],
    languages: Sequence[str],
    category_only: Integers | None,
    topic_only: Integers,
    ordered: bool,
    winner: str,
    candidates: Sequence[CandidateScore],
    temperature: float,
    excluded_classes: Mapping[str, int],
    label_tickets: Sequence[int],
    label_wordings: Sequence[int],
    seed: int,
) -> TargetEvaluation:
    """The evaluation of one target from hold-out probabilities, shape (rows, labels).

    The baseline always answers the most frequent training label.

    Args:
        category_only: answers of someone who knows the predicted category alone.
        topic_only: answers of someone who knows which tickets are alike, and no more.
        ordered: the labels go from the lowest to the highest.
        label_tickets: all tickets of each label; `label_wordings`: the wordings among them.
    """
    count = len(labels)
    predicted = probability.argmax(axis=1)
    confidence = probability[np.arange(len(truth)), predicted]
    correct = predicted == truth
    automatic = confidence >= thresholds[predicted]
    confusion = confusion_counts(truth, predicted, count)
    spread = bootstrap_macro_f1(truth, predicted, count, bootstrap_samples(len(truth), seed))
    low, high = np.quantile(spread, [0.025, 0.975])
    majority = np.full(len(truth), np.bincount(training_codes, minlength=count).argmax())
    second = np.argsort(-probability, axis=1, kind="stable")[:, :2]
    least_sure = _least_sure(confidence, automatic)
    return TargetEvaluation(
        labels=labels,
        winner=winner,
        candidates=tuple(candidates),
        training_rows=len(training_codes),
        holdout_rows=len(truth),
        accuracy=float(correct.mean()),
        macro_f1=float(macro_f1(confusion)),
        macro_f1_low=float(low),
        macro_f1_high=float(high),
        baseline_accuracy=float((majority == truth).mean()),
        baseline_macro_f1=float(macro_f1(confusion_counts(truth, majority, count))),
        category_only_accuracy=(
            None if category_only is None else float((category_only == truth).mean())
        ),
        category_only_macro_f1=(
            None
            if category_only is None
            else float(macro_f1(confusion_counts(truth, category_only, count)))
        ),
        topic_only_accuracy=float((topic_only == truth).mean()),
        topic_only_macro_f1=float(macro_f1(confusion_counts(truth, topic_only, count))),
        order_errors=order_errors(truth, predicted, count) if ordered else None,
        top2_accuracy=float((second == truth[:, np.newaxis]).any(axis=1).mean()),
        ece=expected_calibration_error(confidence, correct),
        coverage=float(automatic.mean()),
        auto_precision=_share(correct, automatic),
        temperature=temperature,
        per_class=_per_class(
            labels=labels,
            confusion=confusion,
            predicted=predicted,
            correct=correct,
            automatic=automatic,
            thresholds=thresholds,
            deployed_thresholds=deployed_thresholds,
            tickets=label_tickets,
            wordings=label_wordings,
        ),
        per_language=_per_language(languages, truth, predicted, count),
        confusion=tuple(tuple(int(cell) for cell in row) for row in confusion),
        reliability=tuple(reliability(confidence, correct)),
        precision_by_coverage=_precision_by_coverage(confidence, correct),
        confident_mistakes=_mistakes(labels, ticket_ids, truth, predicted, confidence),
        excluded_classes=dict(excluded_classes),
        least_sure_rows=int(least_sure.sum()),
        least_sure_precision=_share(correct, least_sure),
    )


def _least_sure(confidence: Floats, automatic: Booleans) -> Booleans:
    """The least confident tenth of the automatic rows, at least one if there are any."""
    rows = np.flatnonzero(automatic)
    order = rows[np.argsort(confidence[rows], kind="stable")]
    least_sure = np.zeros(len(confidence), dtype=bool)
    least_sure[order[: math.ceil(len(rows) / 10)]] = True
    return least_sure


def order_errors(truth: Integers, predicted: Integers, class_count: int) -> OrderErrors:
    """The order-aware errors of codes that go from the lowest label to the highest."""
    highest = truth == class_count - 1
    return OrderErrors(
        mean_rank_error=float(np.abs(predicted - truth).mean()),
        called_far_too_low=float((truth - predicted >= 2).mean()),
        highest_called_lower=_share(predicted < truth, highest),
    )


def _share(correct: Booleans, rows: Booleans) -> float | None:
    return float(correct[rows].mean()) if rows.any() else None


def _per_class(
    *,
    labels: tuple[str, ...],
    confusion: Integers,
    predicted: Integers,
    correct: Booleans,
    automatic: Booleans,
    thresholds: Floats,
    deployed_thresholds: Floats,
    tickets: Sequence[int],
    wordings: Sequence[int],
) -> tuple[ClassScore, ...]:
    precision, recall, f1 = class_scores(confusion)
    scores = []
    for code, label in enumerate(labels):
        rows = predicted == code
        scores.append(
            ClassScore(
                label=label,
                precision=float(precision[code]),
                recall=float(recall[code]),
                f1=float(f1[code]),
                support=int(confusion[code].sum()),
                threshold=float(thresholds[code]),
                deployed_threshold=float(deployed_thresholds[code]),
                coverage=_share(automatic, rows) or 0.0,
                auto_precision=_share(correct, rows & automatic),
                labelled_tickets=tickets[code],
                wordings=wordings[code],
            )
        )
    return tuple(scores)


def _per_language(
    languages: Sequence[str], truth: Integers, predicted: Integers, count: int
) -> tuple[LanguageScore, ...]:
    names = np.array([language or "unknown" for language in languages], dtype=object)
    scores = []
    for name in sorted(set(names)):
        rows = names == name
        confusion = confusion_counts(truth[rows], predicted[rows], count)
        accuracy = float((truth[rows] == predicted[rows]).mean())
        scores.append(LanguageScore(name, int(rows.sum()), accuracy, float(macro_f1(confusion))))
    return tuple(scores)


def _precision_by_coverage(
    confidence: Floats, correct: Booleans, points: int = 50
) -> tuple[tuple[float, float], ...]:
    order = np.argsort(-confidence, kind="stable")
    running = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    cuts = np.unique(np.linspace(1, len(order), min(points, len(order))).astype(int))
    return tuple((cut / len(order), float(running[cut - 1])) for cut in cuts.tolist())


def _mistakes(
    labels: tuple[str, ...],
    ticket_ids: Sequence[str],
    truth: Integers,
    predicted: Integers,
    confidence: Floats,
) -> tuple[Mistake, ...]:
    wrong = np.flatnonzero(predicted != truth)
    worst = sorted(wrong.tolist(), key=lambda row: (-confidence[row], ticket_ids[row]))
    return tuple(
        Mistake(ticket_ids[r], labels[truth[r]], labels[predicted[r]], float(confidence[r]))
        for r in worst[:MISTAKES_SHOWN]
    )


def candidates_table(evaluation: Evaluation, target: str) -> Markdown:
    """Markdown table of the cross-validated candidates, the winner in bold."""
    scores = evaluation.targets[target]
    rows = (
        (
            bold(score.name) if score.name == scores.winner else score.name,
            f"{score.macro_f1:.3f}",
            f"{score.log_loss:.3f}",
        )
        for score in scores.candidates
    )
    return markdown_table(("candidate", "macro-F1", "log-loss"), rows, figures=True)


def figures(target: TargetEvaluation) -> dict[str, float]:
    """The target's figures by the names people know; those that do not apply are left out.

    All lie between 0 and 1, except for the mean number of levels off.
    """
    shares: dict[str, float | None] = {
        "macro-F1": target.macro_f1,
        "accuracy": target.accuracy,
        "right label among the two likeliest": target.top2_accuracy,
        "macro-F1 of always the most frequent": target.baseline_macro_f1,
        "macro-F1 from the topic alone": target.topic_only_macro_f1,
        "macro-F1 from the category alone": target.category_only_macro_f1,
        "calibration error (ECE)": target.ece,
        "sure": target.coverage,
        "right when sure": target.auto_precision,
        "right of the least sure tenth": target.least_sure_precision,
    }
    if target.order_errors is not None:
        shares |= {
            "levels off, mean": target.order_errors.mean_rank_error,
            "called two levels too low or more": target.order_errors.called_far_too_low,
            "highest called lower": target.order_errors.highest_called_lower,
        }
    shares |= {f"accuracy in {score.language}": score.accuracy for score in target.per_language}
    return {name: value for name, value in shares.items() if value is not None}


def per_class_table(evaluation: Evaluation, target: str) -> Markdown:
    """Markdown table of the hold-out figures per label."""
    header = ["label", "precision", "recall", "F1", "tickets", "threshold", "automatic"]
    rows = (
        (
            score.label,
            *(f"{share:.3f}" for share in (score.precision, score.recall, score.f1)),
            score.support,
            threshold_text(score.deployed_threshold),
            f"{score.coverage:.0%}",
            "–" if score.auto_precision is None else f"{score.auto_precision:.1%}",
        )
        for score in evaluation.targets[target].per_class
    )
    return markdown_table([*header, "right then"], rows, figures=True)


def wordings_table(evaluation: Evaluation, target: str) -> Markdown:
    """Markdown table of what there is of each label: tickets, and wordings among them."""
    rows = (
        (
            score.label,
            "–" if score.labelled_tickets is None else score.labelled_tickets,
            "–" if score.wordings is None else score.wordings,
        )
        for score in evaluation.targets[target].per_class
    )
    return markdown_table(("label", "labelled tickets", "wordings"), rows, figures=True)


def per_language_table(evaluation: Evaluation, target: str) -> Markdown:
    """Markdown table of the hold-out figures per language of the tickets."""
    rows = (
        (score.language, score.rows, f"{score.accuracy:.3f}", f"{score.macro_f1:.3f}")
        for score in evaluation.targets[target].per_language
    )
    return markdown_table(("language", "tickets", "accuracy", "macro-F1"), rows, figures=True)


def confusion_matrix_markdown(evaluation: Evaluation, target: str) -> Markdown:
    """Markdown table: rows true, columns predicted."""
    scores = evaluation.targets[target]
    rows = ((name, *row) for name, row in zip(scores.labels, scores.confusion, strict=True))
    return markdown_table(("true ↓ predicted →", *scores.labels), rows, figures=True)


def threshold_text(threshold: float) -> str:
    return "always review" if threshold >= ALWAYS_REVIEW else f"{threshold:.3f}"
