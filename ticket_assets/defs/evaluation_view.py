"""How the UI shows the evaluation of a classifier: figures, tables and plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dagster as dg

from ticket_assets.defs.previews import markdown_table, picture

if TYPE_CHECKING:
    from ticket_assets.classification.evaluation import Evaluation


def evaluation_metadata(evaluation: Evaluation) -> dict[str, dg.MetadataValue[Any]]:
    """Figures, tables and plots of an evaluation for the UI."""
    from ticket_assets.classification.evaluation import (
        candidates_table,
        confusion_matrix_markdown,
        per_class_table,
    )
    from ticket_assets.classification.evaluation_plots import (
        confusion_matrix_png,
        precision_coverage_png,
        reliability_png,
    )

    metadata: dict[str, dg.MetadataValue[Any]] = {
        "scores": dg.MetadataValue.md(_scores(evaluation)),
    }
    for name, target in evaluation.targets.items():
        metadata |= {
            f"{name}_macro_f1": dg.MetadataValue.float(target.macro_f1),
            f"{name}_candidates": dg.MetadataValue.md(candidates_table(evaluation, name)),
            f"{name}_per_class": dg.MetadataValue.md(per_class_table(evaluation, name)),
            f"{name}_confusion": dg.MetadataValue.md(confusion_matrix_markdown(evaluation, name)),
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
    if evaluation.skipped_targets:
        metadata["not_learnt"] = dg.MetadataValue.json(dict(evaluation.skipped_targets))
    return metadata


def _scores(evaluation: Evaluation) -> str:
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
