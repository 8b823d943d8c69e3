"""What other target precisions would have decided on the recent tickets, without deciding anything.

The more precision the automatic labels must keep, the fewer tickets are automatic. The trained
model keeps the thresholds that each target would have given it, so nothing is learnt here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ticket_assets.classification.familiarity import SENTENCES
from ticket_assets.drift.estimated_precision import PrecisionEstimator, labels_of
from ticket_assets.errors import TicketAssetsError

if TYPE_CHECKING:
    from ticket_assets.classification.training import TrainedClassifier
    from ticket_assets.desk import Desk


class SimulationError(TicketAssetsError):
    """There is nothing to simulate with or on."""


@dataclass(frozen=True)
class SimulatedLabel:
    """The tickets that would have had one automatic category."""

    label: str
    tickets: int
    """Tickets with this category as the likeliest, automatic or not."""
    automatic: int
    precision: float | None
    """Estimated share of the automatic ones that are right; None without any."""


@dataclass(frozen=True)
class SimulatedTarget:
    """What one target precision would have decided."""

    target_precision: float
    is_present: bool
    """Whether it is the one in use."""
    automatic: int
    share: float
    precision: float | None
    """Estimated share of the automatic tickets that are right, with the interval that holds what
    will turn out in 90 % of the cases; None where the evidence does not suffice."""
    low: float | None
    high: float | None
    to_automatic: int
    """Tickets that are for a person now, and would have been automatic."""
    to_review: int
    """Tickets that are automatic now, and would have been for a person."""
    minutes_saved: float
    """Of sorting the automatic tickets by hand, less what their errors cost."""
    labels: tuple[SimulatedLabel, ...]


@dataclass(frozen=True)
class Simulation:
    """The targets on the tickets of some days."""

    first_day: date
    last_day: date
    tickets: int
    model_version: str
    targets: tuple[SimulatedTarget, ...]

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        days = {"first_day": self.first_day.isoformat(), "last_day": self.last_day.isoformat()}
        return asdict(self) | days


@dataclass(frozen=True)
class Costs:
    """Minutes of work."""

    to_sort: float
    """A ticket by hand."""
    per_error: float
    """A ticket that went to the wrong queue."""


def simulate(desk: Desk, days: int | None = None) -> Simulation:
    """What each target precision would have decided on the tickets of the last `days` with mail
    (by default TICKETS_SIMULATION_DAYS).

    Raises:
        SimulationError: there are no predictions, or the champion was trained by a release that
            kept no thresholds of other targets.
        ModelError: there is no champion.
    """
    champion = desk.models.require_champion()
    trained = desk.models.load_trained(champion.version)
    if not trained.evaluation.targets["category"].simulated_thresholds:
        raise SimulationError(
            f"The champion {champion.version} was trained by an earlier release, which kept no"
            " thresholds of other targets. Train again: tickets run."
        )
    if "ticket_predictions" not in desk.warehouse.tables():
        raise SimulationError("No ticket has been sorted yet: tickets run")
    (last_day,) = desk.warehouse.row("select max(received_at)::date from ticket_predictions")
    if last_day is None:
        raise SimulationError("No ticket has been sorted yet: tickets run")
    first_day = last_day - timedelta(days=(days or desk.settings.simulation_days) - 1)
    tickets = desk.warehouse.frame(
        "select ticket_id, category, category_confidence as confidence, review_reason"
        " from ticket_predictions where received_at::date between ? and ?",
        [first_day, last_day],
    )
    costs = Costs(desk.settings.minutes_to_sort, desk.settings.minutes_per_error)
    targets = simulated_targets(tickets, trained, labels_of(trained, desk.warehouse), costs)
    return Simulation(first_day, last_day, len(tickets), champion.version, targets)


def simulated_targets(
    tickets: pd.DataFrame, trained: TrainedClassifier, given: pd.Series[Any], costs: Costs
) -> tuple[SimulatedTarget, ...]:
    """Each target on these tickets, from the lowest to the highest.

    Args:
        tickets: ticket_id, category, confidence and review_reason as predicted. Those that the
            classifier has learnt from get what was recorded out of fold.
        given: the category that a person gave to the training tickets, by ticket_id.
    """
    model = trained.classifier.targets["category"]
    names = tuple(dict.fromkeys(model.labels))
    recorded = trained.training_tickets.rename(columns={"category_confidence": "confidence"})
    recorded = recorded.set_index("ticket_id")[["category", "confidence"]]
    learnt = recorded.reindex(tickets["ticket_id"]).set_axis(tickets.index)
    sorted_tickets = _Sorted.of(
        names,
        learnt["category"].fillna(tickets["category"]),
        learnt["confidence"].fillna(tickets["confidence"]),
        learnt["category"].notna() | ~tickets["review_reason"].isin(SENTENCES),
    )
    labelled = recorded.join(given.rename("given")).dropna(subset="given")
    evidence = _Sorted.of(
        names, labelled["category"], labelled["confidence"], pd.Series(True, labelled.index)
    )
    is_right = (labelled["category"] == labelled["given"]).to_numpy()
    present = sorted_tickets.automatic(_strictest(model.labels, model.thresholds.tolist(), names))
    target_in_use = trained.evaluation.target_precision
    simulated = []
    for precision, thresholds in trained.evaluation.targets[
        "category"
    ].simulated_thresholds.items():
        least = _strictest(model.labels, thresholds, names)
        shown = evidence.automatic(least)
        estimator = PrecisionEstimator.fit(evidence.confidence[shown], is_right[shown])
        automatic = sorted_tickets.automatic(least)
        simulated.append(
            SimulatedTarget(
                target_precision=float(precision),
                is_present=float(precision) == target_in_use,
                to_automatic=int((automatic & ~present).sum()),
                to_review=int((present & ~automatic).sum()),
                **_figures(sorted_tickets, automatic, estimator, costs),
            )
        )
    return tuple(simulated)


@dataclass(frozen=True)
class _Sorted:
    """Tickets by the label that is the likeliest for each."""

    names: tuple[str, ...]
    codes: NDArray[np.integer[Any]]
    """Position of the label in `names`; -1 for one that the model does not know."""
    confidence: NDArray[np.floating[Any]]
    is_familiar: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        names: tuple[str, ...],
        category: pd.Series[Any],
        confidence: pd.Series[Any],
        is_familiar: pd.Series[Any],
    ) -> _Sorted:
        codes = pd.Categorical(category, categories=list(names)).codes
        return cls(
            names, np.asarray(codes), confidence.to_numpy(), is_familiar.to_numpy(dtype=bool)
        )

    def automatic(self, thresholds: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        is_sure = self.confidence >= thresholds[self.codes]
        return np.asarray(is_sure & self.is_familiar & (self.codes >= 0))


def _strictest(
    labels: Sequence[str], thresholds: Sequence[float], names: tuple[str, ...]
) -> NDArray[np.floating[Any]]:
    """The threshold of each name: of categories that were merged since the training each has its
    own, and the strictest counts."""
    by_name = dict(sorted(zip(labels, thresholds, strict=True), key=itemgetter(1)))
    return np.array([by_name[name] for name in names])


def _figures(
    tickets: _Sorted,
    automatic: NDArray[np.bool_],
    estimator: PrecisionEstimator | None,
    costs: Costs,
) -> dict[str, Any]:
    count = int(automatic.sum())
    estimate = estimator.estimate(tickets.confidence[automatic]) if estimator and count else None
    wrong = count * (1 - estimate.precision) if estimate else 0.0
    labels = []
    for code, name in enumerate(tickets.names):
        of_label = tickets.codes == code
        decided = of_label & automatic
        labels.append(
            SimulatedLabel(
                name,
                int(of_label.sum()),
                int(decided.sum()),
                estimator.estimate(tickets.confidence[decided]).precision
                if estimator and decided.any()
                else None,
            )
        )
    return {
        "automatic": count,
        "share": count / len(automatic) if len(automatic) else 0.0,
        "precision": estimate and estimate.precision,
        "low": estimate and estimate.low,
        "high": estimate and estimate.high,
        "minutes_saved": count * costs.to_sort - wrong * costs.per_error,
        "labels": tuple(labels),
    }
