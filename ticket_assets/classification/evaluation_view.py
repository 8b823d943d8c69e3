"""How the UI shows the evaluation of a classifier: figures, tables and plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ticket_assets.markdown import Markdown, markdown_table, picture

if TYPE_CHECKING:
    from ticket_assets.classification.evaluation import Evaluation, TargetEvaluation


def evaluation_metadata(
    evaluation: Evaluation, champion: Evaluation | None = None
) -> dict[str, Any]:
    """Figures of an evaluation, its tables and plots as Markdown, and how they moved since the
    champion.

    The champion's figures are those recorded for it, on the hold-out of its time.
    """
    from ticket_assets.classification.evaluation import (
        candidates_table,
        confusion_matrix_markdown,
        per_class_table,
        per_language_table,
        wordings_table,
    )
    from ticket_assets.classification.evaluation_plots import (
        confusion_matrix_png,
        precision_coverage_png,
        reliability_png,
    )

    metadata: dict[str, Any] = {"scores": _scores(evaluation)}
    for name, target in evaluation.targets.items():
        metadata |= {
            f"{name}_macro_f1": target.macro_f1,
            f"{name}_figures": _figures(target, champion.targets.get(name) if champion else None),
            f"{name}_candidates": candidates_table(evaluation, name),
            f"{name}_per_class": per_class_table(evaluation, name),
            f"{name}_per_language": per_language_table(evaluation, name),
            f"{name}_wordings": wordings_table(evaluation, name),
            f"{name}_confusion": confusion_matrix_markdown(evaluation, name),
            f"{name}_confusion_matrix": picture(
                f"Confusion matrix of the {name}", confusion_matrix_png(evaluation, name)
            ),
            f"{name}_reliability": picture(
                f"Reliability of the {name}", reliability_png(evaluation, name)
            ),
            f"{name}_precision_coverage": picture(
                f"Precision and coverage of the {name}", precision_coverage_png(evaluation, name)
            ),
        }
        if target.excluded_classes:
            metadata[f"{name}_labels_left_out"] = {
                "too few tickets to learn": dict(target.excluded_classes)
            }
    if evaluation.skipped_targets:
        metadata["not_learnt"] = dict(evaluation.skipped_targets)
    return metadata


def _scores(evaluation: Evaluation) -> Markdown:
    rows = []
    for name, target in evaluation.targets.items():
        rows.append(
            (
                name,
                f"{target.macro_f1:.3f} ({target.macro_f1_low:.3f} to {target.macro_f1_high:.3f})",
                f"{target.baseline_macro_f1:.3f}",
                ""
                if target.category_only_macro_f1 is None
                else f"{target.category_only_macro_f1:.3f}",
                f"{target.accuracy:.3f}",
                f"{target.coverage:.0%}",
                "" if target.auto_precision is None else f"{target.auto_precision:.1%}",
                target.holdout_rows,
            )
        )
    return markdown_table(
        (
            "target",
            "macro-F1 (95 %)",
            "majority",
            "category alone",
            "accuracy",
            "sure",
            "right when sure",
            "tickets",
        ),
        rows,
    )


def _figures(target: TargetEvaluation, champion: TargetEvaluation | None) -> Markdown:
    from ticket_assets.classification.evaluation import figures

    found, former = figures(target), figures(champion) if champion else {}
    if not former:
        return markdown_table(
            ("figure", "candidate"), ((name, f"{value:.3f}") for name, value in found.items())
        )
    return markdown_table(
        ("figure", "candidate", "champion, in its time", "change"),
        (
            (name, f"{value:.3f}", f"{former[name]:.3f}", f"{value - former[name]:+.3f}")
            if name in former
            else (name, f"{value:.3f}", "", "")
            for name, value in found.items()
        ),
    )
