"""Whether a new model is to be trained now, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ticket_assets.mail.landed_days import labels_fingerprint

if TYPE_CHECKING:
    import pandas as pd

    from ticket_assets.desk import Desk
    from ticket_assets.settings import Settings

LOST_PRECISION = "automatic tickets that people labelled miss the target precision"


@dataclass(frozen=True)
class Drift:
    """Days without a quiet one between them, up to the latest day with mail."""

    first_day: date
    last_day: date
    metrics: tuple[str, ...]
    """What has drifted on any of them."""

    def __str__(self) -> str:
        period = f"on {self.first_day}"
        if self.first_day != self.last_day:
            period = f"from {self.first_day} to {self.last_day}"
        return f"drift {period} ({', '.join(self.metrics)})"


@dataclass(frozen=True)
class LearningState:
    """What there is to learn from, since the model that was trained last."""

    champion: str | None
    candidate: str | None
    """Version of the model that was trained last, whether it was promoted or not."""
    new_labels: int
    """Tickets that were labelled, or labelled anew, since then."""
    drift: Drift | None
    """Of the mail from what the champion has learnt; None when the latest day is quiet."""


@dataclass(frozen=True)
class Decision:
    """To train or not, in words for the person who looks."""

    reason: str
    key: str | None
    """What identifies the cause, if there is one to train for: for each cause one training."""


def decide(
    state: LearningState,
    settings: Settings,
    last_training: datetime | None,
    now: datetime,
    *,
    is_imprecise: bool = False,
) -> Decision:
    """Train when the mail has drifted, or automatic labels are wrong too often, and enough new
    labels say what is right, or when there are many new labels; not soon after a training.

    Args:
        last_training: its end, aware; None when there was none.
        is_imprecise: whether labels given since then show that the target precision is not kept.
    """
    labels = f"{state.new_labels:,} new labels since the last training"
    trouble = str(state.drift) if state.drift else LOST_PRECISION if is_imprecise else None
    if state.champion is None:
        return Decision("No champion yet: new_mail has the first one learnt.", None)
    if trouble and state.new_labels >= settings.retrain_min_labels:
        since = f"drift since {state.drift.first_day}" if state.drift else LOST_PRECISION
        cause, identity = f"{trouble}, {labels}", since
    elif state.new_labels >= settings.retrain_labels:
        cause, identity = labels, "labels"
    elif trouble:
        return Decision(
            f"Not trained: {trouble}, but only {labels}: {settings.retrain_min_labels:,} are"
            " needed.",
            None,
        )
    else:
        return Decision(
            f"Not trained: no drift on the latest day, and {labels}, where"
            f" {settings.retrain_labels:,} train a new model.",
            None,
        )
    pause = timedelta(hours=settings.retrain_pause_hours)
    # An end in the future: the clock was put back.
    if last_training and timedelta(0) <= now - last_training < pause:
        return Decision(
            f"Not trained: {cause}, but the last training was at {last_training:%Y-%m-%d %H:%M}"
            f" UTC: the next one is from {last_training + pause:%Y-%m-%d %H:%M} UTC on.",
            None,
        )
    return Decision(f"Trained: {cause}.", f"{identity}, after {state.candidate}")


def learning_state(desk: Desk) -> LearningState:
    """The present state of the desk. Reads the labels and the warehouse.

    Raises:
        WarehouseError: the warehouse is being written.
    """
    from ticket_assets.classification.promotion import PromotionRefusedError, read_candidate

    champion = desk.champion
    if champion is None:
        return LearningState(None, None, 0, None)
    try:
        candidate = read_candidate(desk.models).version
    except PromotionRefusedError:
        candidate = champion
    return LearningState(champion, candidate, _new_labels(desk, candidate), present_drift(desk))


def _new_labels(desk: Desk, version: str) -> int:
    """How many tickets were labelled, or labelled anew, since this model was trained.

    Labels that are imported later may bear an earlier time, so there can be more labelled tickets
    than labels since then.
    """
    trained = desk.models.version(version)
    labelled_at = _labelled_tickets(desk, labels_fingerprint(desk.landing), desk.warehouse.revision)
    evaluation = desk.models.load_evaluation(version)
    known = trained.training_tickets + evaluation.older_rows + evaluation.unusable_rows
    trained_at = datetime.fromisoformat(trained.created_at).replace(tzinfo=None)
    return max(len(labelled_at) - known, int((labelled_at > trained_at).sum()), 0)


# A sensor asks every minute, and all labels and the list of all mail have to be read for it.
@lru_cache(maxsize=1)
def _labelled_tickets(desk: Desk, landed_labels: str, revision: int) -> pd.Series[Any]:
    """When the tickets with a clean text got their latest label (UTC), or theirs became one with
    others; read again once other labels have landed or the warehouse was written to."""
    labels = desk.landing.resolve_labels().labels
    changes = desk.landing.category_changes.made()
    for place, change in enumerate(changes):
        if change.is_merge:
            name: str | None = change.name
            for later in changes[place + 1 :]:
                name = later(name)
            merged_at = datetime.fromisoformat(change.changed_at).replace(tzinfo=None)
            is_older = (labels["category"] == name) & (labels["labelled_at"] < merged_at)
            labels.loc[is_older, "labelled_at"] = merged_at
    if "clean_tickets" not in desk.warehouse.tables():
        return labels["labelled_at"][:0]
    return desk.warehouse.frame(
        "select labelled_at from labelled join clean_tickets using (ticket_id)",
        frames={"labelled": labels[["ticket_id", "labelled_at"]]},
    )["labelled_at"]


def present_drift(desk: Desk) -> Drift | None:
    """The drift of the latest days from what the champion has learnt.

    Raises:
        WarehouseError: the warehouse is being written.
    """
    champion = desk.champion
    if champion is None or "drift_metrics" not in desk.warehouse.tables():
        return None
    days: Sequence[tuple[date, list[str] | None]] = desk.warehouse.rows(
        "select received_at::date as day, list(distinct metric) filter (drifted)"
        " from drift_metrics where model_version = ? group by day order by day desc",
        [champion],
    )
    drifted: list[tuple[date, list[str]]] = []
    for day, metrics in days:
        if not metrics:
            break
        drifted.append((day, metrics))
    if not drifted:
        return None
    metrics_of_any = sorted({metric for _, metrics in drifted for metric in metrics})
    return Drift(drifted[-1][0], drifted[0][0], tuple(metrics_of_any))
