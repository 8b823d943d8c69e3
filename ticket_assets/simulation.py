"""What other target precisions would have decided on the recent tickets, without deciding anything.

The more precision the automatic labels must keep, the fewer tickets are automatic. The trained
model keeps the thresholds that each target would have given it, so nothing is learnt here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student_t

from ticket_assets.classification.evaluation import target_name
from ticket_assets.classification.familiarity import SENTENCES
from ticket_assets.drift.estimated_precision import (
    INTERVAL,
    Precision,
    PrecisionEstimator,
    labels_of,
)
from ticket_assets.errors import TicketAssetsError

if TYPE_CHECKING:
    from ticket_assets.classification.training import TrainedClassifier
    from ticket_assets.desk import Desk


FORECAST_DAYS = 30


class SimulationError(TicketAssetsError):
    """There is nothing to simulate with or on."""


@dataclass(frozen=True)
class SimulatedLabel:
    """The tickets with one category as the likeliest."""

    label: str
    tickets: int
    share: float | None
    """Share of them that would have been automatic; None without any."""
    precision: float | None
    """Estimated share of the automatic ones that are right, with its interval as for all labels;
    None without any, or where the evidence does not suffice."""
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SimulatedTarget:
    """What one target precision would decide on mail like these tickets."""

    target_precision: float
    is_present: bool
    """Whether it is the one in use."""
    share: float
    """Share of automatic tickets, had all been new to the model, with the interval that holds the
    share of the following `FORECAST_DAYS` in 90 % of the cases."""
    share_low: float
    share_high: float
    precision: float | None
    """Estimated share of the automatic tickets that are right, with the interval that holds what
    will turn out in the following `FORECAST_DAYS` in 90 % of the cases; None where the evidence
    does not suffice."""
    low: float | None
    high: float | None
    minutes_saved: float
    """Of sorting by hand, in `FORECAST_DAYS`."""
    minutes_of_errors: float | None
    """What the wrong ones of these tickets cost."""
    automatic: int
    """Tickets without a person's label that would have been automatic."""
    to_automatic: int
    """Those of them that are for a person now."""
    to_review: int
    """Tickets without a person's label that are automatic now, and would have been for a person."""
    changed: tuple[str, ...]
    """The ids of the tickets of both kinds."""
    labels: tuple[SimulatedLabel, ...]

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON has them, without the ids."""
        return asdict(replace(self, changed=())) | {"changed": len(self.changed)}


@dataclass(frozen=True)
class Simulation:
    """The targets on the tickets of some days."""

    first_day: date
    last_day: date
    tickets: int
    labelled: int
    """Those of them that have a person's label, which no target changes."""
    model_version: str
    targets: tuple[SimulatedTarget, ...]

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON has them."""
        return {
            "first_day": self.first_day.isoformat(),
            "last_day": self.last_day.isoformat(),
            "tickets": self.tickets,
            "labelled": self.labelled,
            "model_version": self.model_version,
            "targets": [target.as_dict() for target in self.targets],
        }

    def nearest(self, precision: float) -> SimulatedTarget:
        """The target that is the nearest to this one."""
        return min(self.targets, key=lambda target: abs(target.target_precision - precision))


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
            " thresholds of other targets. The next training keeps them: tickets run"
        )
    if "ticket_predictions" not in desk.warehouse.tables():
        raise SimulationError("No ticket has been sorted yet: tickets run")
    (last_day,) = desk.warehouse.row("select max(received_at)::date from ticket_predictions")
    if last_day is None:
        raise SimulationError("No ticket has been sorted yet: tickets run")
    first_day = last_day - timedelta(days=(days or desk.settings.simulation_days) - 1)
    tickets = desk.warehouse.frame(
        "select ticket_id, received_at, p.category, category_confidence as confidence,"
        " review_reason, l.category is not null as is_labelled"
        " from ticket_predictions p left join ticket_labels l using (ticket_id)"
        " where received_at::date between ? and ?",
        [first_day, last_day],
    )
    costs = Costs(desk.settings.minutes_to_sort, desk.settings.minutes_per_error)
    return Simulation(
        first_day,
        last_day,
        len(tickets),
        int(tickets["is_labelled"].sum()),
        champion.version,
        simulated_targets(tickets, trained, labels_of(trained, desk.warehouse), costs),
    )


def simulated_targets(
    tickets: pd.DataFrame, trained: TrainedClassifier, given: pd.Series[Any], costs: Costs
) -> tuple[SimulatedTarget, ...]:
    """Each target on these tickets, from the lowest to the highest.

    Args:
        tickets: ticket_id, received_at, is_labelled (by a person), and category, confidence and
            review_reason as predicted. Those that the classifier has learnt from get what was
            recorded out of fold.
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
    open_tickets = ~tickets["is_labelled"].to_numpy(dtype=bool)
    ids = tickets["ticket_id"].to_numpy()
    week, growth = _weeks(tickets["received_at"])
    thresholds_by_target = trained.evaluation.targets["category"].simulated_thresholds
    simulated = []
    for precision, thresholds in thresholds_by_target.items():
        least = _strictest(model.labels, thresholds, names)
        shown = evidence.automatic(least)
        estimator = PrecisionEstimator.fit(evidence.confidence[shown], is_right[shown])
        automatic = sorted_tickets.automatic(least)
        changed = open_tickets & (automatic != present)
        share, low, high = _share(automatic, week, growth)
        decided = sorted_tickets.confidence[automatic]
        estimate = _precision(estimator, decided, growth)
        expected = len(decided) * growth
        simulated.append(
            SimulatedTarget(
                target_precision=float(precision),
                is_present=precision == target_name(trained.evaluation.target_precision),
                share=share,
                share_low=low,
                share_high=high,
                precision=estimate.precision if estimate else None,
                low=estimate.low if estimate else None,
                high=estimate.high if estimate else None,
                minutes_saved=expected * costs.to_sort,
                minutes_of_errors=expected * (1 - estimate.precision) * costs.per_error
                if estimate
                else None,
                automatic=int((automatic & open_tickets).sum()),
                to_automatic=int((automatic & changed).sum()),
                to_review=int((present & changed).sum()),
                changed=tuple(ids[changed]),
                labels=_labels(sorted_tickets, automatic, estimator, growth),
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


def _weeks(received_at: pd.Series[Any]) -> tuple[NDArray[np.integer[Any]], float]:
    """The week of each ticket, counted back from the latest, and how many tickets the forecast
    expects for each of these."""
    if received_at.empty:
        return np.zeros(0, np.int64), 0.0
    age = (received_at.max().normalize() - received_at.dt.normalize()).dt.days.to_numpy()
    return age // 7, FORECAST_DAYS / (int(age.max()) + 1)


def _share(
    automatic: NDArray[np.bool_], week: NDArray[np.integer[Any]], growth: float
) -> tuple[float, float, float]:
    """The share of automatic tickets, and the 90 % interval of that of the forecast.

    Tickets of a week are alike (a campaign, an outage), so its share differs more from those of
    others than the tickets' number alone explains. The variance is larger by as much as Pearson's
    chi-square of the weeks exceeds its degrees of freedom (McCullagh and Nelder 1989, 4.5).
    """
    count, total = int(automatic.sum()), len(automatic)
    if not total:
        return 0.0, 0.0, 1.0
    share = count / total
    # Half a ticket of each kind keeps a variance where all are of one.
    likely = (count + 0.5) / (total + 1)
    tickets = np.bincount(week)
    off = np.bincount(week, weights=automatic) - tickets * likely
    freedom = max(int((tickets > 0).sum()) - 1, 1)
    variance = likely * (1 - likely)
    dispersion = max(1.0, float((off**2 / np.maximum(tickets, 1)).sum()) / variance / freedom)
    error = np.sqrt(dispersion * variance * (1 / total + 1 / (total * growth)))
    reach = float(student_t.ppf((1 + INTERVAL) / 2, freedom) * error)
    return share, max(0.0, share - reach), min(1.0, share + reach)


def _precision(
    estimator: PrecisionEstimator | None, confidence: NDArray[np.floating[Any]], growth: float
) -> Precision | None:
    if estimator is None or not len(confidence):
        return None
    return estimator.estimate(confidence, len(confidence) * growth)


def _labels(
    tickets: _Sorted,
    automatic: NDArray[np.bool_],
    estimator: PrecisionEstimator | None,
    growth: float,
) -> tuple[SimulatedLabel, ...]:
    labels = []
    for code, name in enumerate(tickets.names):
        of_label = tickets.codes == code
        decided = of_label & automatic
        count = int(of_label.sum())
        estimate = _precision(estimator, tickets.confidence[decided], growth)
        labels.append(
            SimulatedLabel(
                name,
                count,
                int(decided.sum()) / count if count else None,
                estimate.precision if estimate else None,
                estimate.low if estimate else None,
                estimate.high if estimate else None,
            )
        )
    return tuple(labels)
