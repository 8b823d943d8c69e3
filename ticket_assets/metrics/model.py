"""The champion's figures, what its labels are worth, and how far the mail has drifted from it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from prometheus_client.core import Metric

from ticket_assets.desk import Desk
from ticket_assets.drift.report import BY_CATEGORY
from ticket_assets.drift.store import FIGURES, drift_ratios, rows_by_window
from ticket_assets.metrics.families import gauge, gauges
from ticket_assets.planning.learning_record import read_new_labels

if TYPE_CHECKING:
    from ticket_assets.classification.evaluation import Evaluation
    from ticket_assets.classification.model_store import ModelVersion

BOUNDS = {"": "", "_low": ", lower end of its interval", "_high": ", upper end of its interval"}


class ModelFigures:
    """Figures of the champion; its files are read when it is another one than before."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._champion: tuple[ModelVersion, Evaluation, datetime | None] | None = None

    def families(self) -> Iterator[Metric]:
        """The champion, its evaluation, the target and the labels that wait for a training.

        Raises:
            ModelError: the champion cannot be read.
            BlobStoreError: the models or cursors cannot be read.
        """
        settings = self._desk.settings
        yield gauge(
            "tickets_target_precision_ratio",
            "Precision that automatic labels must keep: TICKETS_TARGET_PRECISION.",
            settings.target_precision,
        )
        yield gauge(
            "tickets_auto_share_floor_ratio",
            "Share of automatic decisions below which a check warns: TICKETS_AUTO_SHARE_FLOOR.",
            settings.auto_share_floor,
        )
        yield gauge(
            "tickets_shadow_mode",
            "1 in shadow mode, where decisions are made and no ticket is handed on:"
            " TICKETS_SHADOW_MODE.",
            settings.shadow_mode,
        )
        new_labels = read_new_labels(self._desk.cursors)
        if new_labels is not None:
            yield gauge(
                "tickets_labels_waiting",
                "Tickets labelled since the last training, as automation counted them last.",
                new_labels,
            )
        if not self._desk.has_models:
            return
        store = self._desk.models
        name = store.champion_name()
        if name is None:
            return
        if self._champion is None or self._champion[0].version != name:
            evaluation = store.load_evaluation(name)
            self._champion = (store.version(name), evaluation, store.champion_changed_at())
        version, evaluation, changed_at = self._champion
        yield gauges(
            "tickets_model_info",
            "The champion model, which sorts the mail.",
            ("version", "encoder"),
            {(version.version, version.encoder): 1},
        )
        yield gauge(
            "tickets_model_trained_timestamp_seconds",
            "When the champion was trained.",
            datetime.fromisoformat(version.created_at).timestamp(),
        )
        if changed_at:
            yield gauge(
                "tickets_model_promoted_timestamp_seconds",
                "When the champion was changed last, by promotion or rollback.",
                changed_at.timestamp(),
            )
        yield from _evaluation_families(evaluation)

    def drift_families(self, latest: date | None) -> Iterator[Metric]:
        """The drift of the latest day with mail.

        Args:
            latest: that day; None before the first report.

        Raises:
            BlobStoreError: the reports cannot be read.
        """
        content = self._desk.reports.read(f"{latest}/{FIGURES}") if latest else None
        if latest is None or content is None:
            return
        report: dict[str, Any] = json.loads(content)
        day, week = rows_by_window(report)
        # The row of the estimate is the last one of a window.
        estimate = [*day, *week][-1] if day else {}
        yield gauges(
            "tickets_drift_ratio",
            "Distance of the latest day's mail, and of its week's, from what the champion learnt,"
            " in thresholds: from 1 on it has drifted.",
            ("metric", "window"),
            {
                (metric, window): ratio
                for window, rows in (("day", day), ("week", week))
                for metric, ratio in drift_ratios(rows).items()
            },
        )
        yield gauge(
            "tickets_drift_timestamp_seconds",
            "The latest day with mail that was compared, its beginning.",
            datetime(latest.year, latest.month, latest.day, tzinfo=UTC).timestamp(),
        )
        for bound, words in BOUNDS.items():
            name = f"estimated_precision{bound}"
            if name in estimate:
                yield gauge(
                    f"tickets_{name}_ratio",
                    "Precision of the latest automatic tickets, of that day or its week, estimated"
                    f" without labels{words}.",
                    estimate[name],
                )
        yield gauges(
            "tickets_estimated_label_precision_ratio",
            "The same, by predicted category.",
            ("label",),
            {(label,): value for label, value in estimate.get(BY_CATEGORY, {}).items()},
        )


def realised_families(figures: Mapping[str, Any]) -> Iterator[Metric]:
    """What people's labels say of the automatic tickets.

    Args:
        figures: those of the latest verdict of `realised_precision_is_within_target`; empty
            before the first.
    """
    if "labelled" not in figures:
        return
    yield gauge(
        "tickets_realised_labelled",
        "Automatic tickets that people labelled since the champion was trained.",
        figures["labelled"],
    )
    for bound, words in BOUNDS.items():
        if (value := figures.get(f"realised{bound}")) is not None:
            yield gauge(
                f"tickets_realised_precision{bound}_ratio",
                f"Precision of the automatic tickets that people labelled since then{words}.",
                value,
            )
        if (value := figures.get(f"audited{bound}")) is not None:
            yield gauge(
                f"tickets_realised_audited_precision{bound}_ratio",
                f"The same by the audits among them alone, where there are enough{words}.",
                value,
            )
    by_label: Mapping[str, float] = figures.get("realised_by_category", {})
    yield gauges(
        "tickets_realised_label_precision_ratio",
        "The same, by category.",
        ("label",),
        {(label,): value for label, value in by_label.items()},
    )


def account_families(
    by_label: Mapping[str, Mapping[str, Any]] | None, waiting: int | None
) -> Iterator[Metric]:
    """What became of the automatic decisions, and what waits for a person.

    Args:
        by_label: as in the metadata of `suspended_labels`; None before the first look.
        waiting: tickets in `review_queue`; None before the first.
    """
    if waiting is not None:
        yield gauge(
            "tickets_review_waiting",
            "Tickets of the last 30 days with mail that wait for a person, as review_queue counted"
            " them last.",
            waiting,
        )
    if by_label is None:
        return
    yield gauges(
        "tickets_automatic_outcomes",
        "Automatic tickets of the last 90 days with mail, by what became of them: accepted or"
        " overridden by a person, already_right before the decision, undecided.",
        ("label", "outcome"),
        {
            (label, outcome): figures[outcome]
            for label, figures in by_label.items()
            for outcome in ("accepted", "overridden", "already_right", "undecided")
            if outcome in figures
        },
    )
    yield gauges(
        "tickets_audits",
        "Automatic tickets of these days that chance gave to a person, answered or waiting.",
        ("label", "state"),
        {
            (label, state): figures[f"audits_{name}"]
            for label, figures in by_label.items()
            for state, name in (("answered", "answered"), ("waiting", "open"))
            if f"audits_{name}" in figures
        },
    )
    for bound, words in BOUNDS.items():
        yield gauges(
            f"tickets_audited_precision{bound}_ratio",
            f"Precision of automatic tickets by audits alone{words}.",
            ("label",),
            {
                (label,): figures[f"realised{bound}"]
                for label, figures in by_label.items()
                if figures.get(f"realised{bound}") is not None
            },
        )
    yield gauges(
        "tickets_breaker_evidence_ratio",
        "Evidence of audits that a label breaks its promise: at 1 it is taken off automatic.",
        ("label",),
        {
            (label,): figures["evidence"]
            for label, figures in by_label.items()
            if "evidence" in figures
        },
    )
    yield gauges(
        "tickets_label_suspended",
        "1 where audits have taken a label off automatic.",
        ("label",),
        {
            (label,): figures["suspended"]
            for label, figures in by_label.items()
            if "suspended" in figures
        },
    )


def simulation_families(by_target: Mapping[str, Mapping[str, float]]) -> Iterator[Metric]:
    """What other target precisions would do.

    Args:
        by_target: as in the metadata of `threshold_simulation`; empty before the first.
    """
    for figure, words in (
        ("share", "Share of automatic tickets that a target precision would give in 30 days"),
        ("precision", "Share of those that would be right"),
    ):
        for bound, of_bound in BOUNDS.items():
            yield gauges(
                f"tickets_simulated_{figure}{bound}_ratio",
                f"{words}{of_bound}.",
                ("target_precision",),
                {
                    (target,): forecast[figure + bound]
                    for target, forecast in by_target.items()
                    if figure + bound in forecast
                },
            )


def _evaluation_families(evaluation: Evaluation) -> Iterator[Metric]:
    targets = evaluation.targets
    for bound, words in BOUNDS.items():
        yield gauges(
            f"tickets_model_macro_f1{bound}",
            "Macro-F1, with a 95 % interval, on the hold-out, the most recent labelled"
            f" tickets{words}.",
            ("target",),
            {(name,): getattr(target, f"macro_f1{bound}") for name, target in targets.items()},
        )
    yield gauges(
        "tickets_model_coverage_ratio",
        "Share of the hold-out that is decided automatically.",
        ("target",),
        {(name,): target.coverage for name, target in targets.items()},
    )
    yield gauges(
        "tickets_model_precision_ratio",
        "Share of those that are decided rightly.",
        ("target",),
        {
            (name,): target.auto_precision
            for name, target in targets.items()
            if target.auto_precision is not None
        },
    )
    yield gauges(
        "tickets_model_label_precision_ratio",
        "The same, by label.",
        ("target", "label"),
        {
            (name, score.label): score.auto_precision
            for name, target in targets.items()
            for score in target.per_class
            if score.auto_precision is not None
        },
    )
    yield gauges(
        "tickets_model_label_coverage_ratio",
        "Share of a label's hold-out tickets that is decided automatically.",
        ("target", "label"),
        {
            (name, score.label): score.coverage
            for name, target in targets.items()
            for score in target.per_class
        },
    )
