"""The model card saved beside a classifier: what it is, what it is worth, and its limits."""

from __future__ import annotations

from ticket_assets.classification.evaluation import (
    Evaluation,
    OrderErrors,
    TargetEvaluation,
    candidates_table,
    confusion_matrix_markdown,
    per_class_table,
    per_language_table,
    wordings_table,
)
from ticket_assets.classification.evidence import labels_needed
from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.classification.training_set import LEAST_WORDINGS
from ticket_assets.markdown import markdown_table, plain
from ticket_assets.plural import counted


def model_card(trained: TrainedClassifier, version: str) -> str:
    """Markdown; the same training gives the same text."""
    evaluation = trained.evaluation
    sections = [_summary(trained, version)]
    for target in evaluation.targets:
        sections.append(_target_section(evaluation, target))
    for target, reason in evaluation.skipped_targets.items():
        sections.append(f"## {target.capitalize()}\n\nNot predicted. {plain(reason)}")
    sections.append(_limits(evaluation))
    return "\n\n".join(sections) + "\n"


def _summary(trained: TrainedClassifier, version: str) -> str:
    evaluation = trained.evaluation
    return f"""# Ticket classifier {version}

Predicts the {" and the ".join(evaluation.targets)} of an IT-support ticket, each with a calibrated
probability, and leaves to people what it is not sure of.

| | |
|---|---|
| encoder | {plain(evaluation.encoder)} |
| labelled tickets | {len(trained.training_tickets)} |
| independent wordings among them | {_or_dash(evaluation.wordings)} |
| received | {evaluation.training_from} to {evaluation.training_to} (UTC) |
| evaluated on those received | {evaluation.holdout_from} to {evaluation.holdout_to} (UTC) |
| recent tickets not evaluated, in a wording known before | {evaluation.holdout_copies_dropped} |
| labelled tickets that could not be used | {evaluation.unusable_rows} |
| older labelled tickets left out | {evaluation.older_rows} |
| labels in doubt, table suspected_label_errors | {len(trained.label_errors)} |
| fingerprint | `{evaluation.fingerprint}` |"""


def _target_section(evaluation: Evaluation, target: str) -> str:
    scores = evaluation.targets[target]
    return f"""## {target.capitalize()}

{_scores(scores)}

Candidates, by cross-validation on the {scores.training_rows} other tickets:

{candidates_table(evaluation, target)}

Per label, on the {scores.holdout_rows} evaluated tickets:

{per_class_table(evaluation, target)}

{per_language_table(evaluation, target)}

{confusion_matrix_markdown(evaluation, target)}

What was learnt, near-copies of a text being one wording:

{wordings_table(evaluation, target)}

{_few_wordings(scores)}{_excluded(scores)}"""


def _scores(scores: TargetEvaluation) -> str:
    alone = scores.category_only_accuracy, scores.category_only_macro_f1
    rows = [
        (f"this classifier ({scores.winner})", scores.accuracy, scores.macro_f1),
        ("always the most frequent", scores.baseline_accuracy, scores.baseline_macro_f1),
        ("from the predicted category alone", *alone),
        (
            "from the topic alone (clusters of the vectors)",
            scores.topic_only_accuracy,
            scores.topic_only_macro_f1,
        ),
    ]
    cells = [
        [name, *(f"{share:.3f}" for share in shares)]
        for name, *shares in rows
        if None not in shares
    ]
    lines: list[str] = [
        markdown_table(("", "accuracy", "macro-F1"), cells, figures=True),
        "",
        f"Its macro-F1 is {scores.macro_f1_low:.3f} to {scores.macro_f1_high:.3f} at 95 % "
        f"confidence. The right label is among the two likeliest for {scores.top2_accuracy:.1%}. "
        f"Calibration error {scores.ece:.3f} (temperature {scores.temperature:.3g}). Confident "
        f"enough to decide: {scores.coverage:.1%}, of which {_percent(scores.auto_precision)} "
        f"right{_least_sure(scores)}.",
    ]
    if scores.order_errors is not None:
        lines += ["", _order_errors(scores.labels[-1], scores.order_errors)]
    return "\n".join(lines)


def _least_sure(scores: TargetEvaluation) -> str:
    if scores.least_sure_precision is None:
        return ""
    return (
        f"; of the least sure tenth of these ({counted(scores.least_sure_rows, 'ticket')}),"
        f" {scores.least_sure_precision:.1%}"
    )


def _order_errors(highest: str, errors: OrderErrors) -> str:
    highest = plain(highest)
    lower = errors.highest_called_lower
    missed = (
        f"none of the evaluated tickets was {highest}"
        if lower is None
        else f"{lower:.1%} of the {highest} ones were called lower"
    )
    return (
        f"Errors by their order: {errors.mean_rank_error:.2f} levels off on average; "
        f"{errors.called_far_too_low:.1%} called two levels too low or more; {missed}."
    )


def _excluded(scores: TargetEvaluation) -> str:
    if not scores.excluded_classes:
        return "Every label seen was learnt."
    names = ", ".join(f"{plain(name)} ({count})" for name, count in scores.excluded_classes.items())
    return f"Too few tickets to be learnt, hence never predicted: {names}."


def _few_wordings(scores: TargetEvaluation) -> str:
    """Which labels have too few wordings for an automatic decision."""
    names = ", ".join(
        plain(score.label)
        for score in scores.per_class
        if score.wordings is not None and score.wordings < LEAST_WORDINGS
    )
    if not names:
        return ""
    return f"Of fewer than {LEAST_WORDINGS} wordings, hence never automatic: {names}.\n\n"


def _or_dash(count: int | None) -> str:
    return "–" if count is None else str(count)


def _limits(evaluation: Evaluation) -> str:
    target, risk = evaluation.target_precision, evaluation.precision_risk
    return f"""## Limits

- It knows only the labels above. A ticket of any other kind gets one of them, or goes to review.
- For each label, the chance that its automatic tickets are right less than {target:.0%} of the time
  is at most {risk:.0%}, on mail like the labelled tickets (Learn then Test, arXiv 2110.01052),
  copies of a text counted once. When the mail changes this no longer holds: watch the drift report
  and train again.
- A label with fewer than {labels_needed(target, risk)} labelled tickets of different texts, or
  {LEAST_WORDINGS} wordings, is never decided automatically, however good it looks: the evidence is
  missing, and more labelled tickets bring it.
- No label is decided automatically below a probability of {evaluation.confidence_floor:.0%}.
- The figures were measured on a model fitted on the other tickets; the one saved here has also
  learnt from the evaluated ones, and its thresholds were found on all of them.
- The evaluated tickets are in wordings that the model had not learnt. Of mail in a wording that it
  knows, more is right."""


def _percent(share: float | None) -> str:
    return "none" if share is None else f"{share:.1%}"
