"""What other target precisions would have decided on the recent tickets, without deciding anything.

The more precision the automatic labels must keep, the fewer tickets are automatic. The trained
model keeps the thresholds that each target would have given it, so nothing is learnt here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, time, timedelta
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
class SimulatedMail:
    """What one target precision would do with the tickets of one label, or with all.

    Shares, precisions and minutes are forecasts of `FORECAST_DAYS`, with the intervals that hold
    what will turn out in 90 % of the cases. For them all tickets count as new to the model.
    """

    label: str | None
    """The likeliest category of the tickets; None of all tickets together."""
    tickets: int
    share: float | None
    """Share of automatic tickets; None without any ticket."""
    share_low: float | None
    share_high: float | None
    precision: float | None
    """Estimated share of the automatic tickets that are right; None without any, or where the
    evidence does not suffice."""
    precision_low: float | None
    precision_high: float | None
    minutes_saved: float
    """Of sorting by hand."""
    minutes_of_errors: float | None
    """What the wrong ones of the automatic tickets cost."""
    automatic: int
    """Tickets without a person's label that would have been automatic."""
    to_automatic: int
    """Those of them that are for a person now."""
    to_review: int
    """Tickets without a person's label that are automatic now, and would have been for a person."""


@dataclass(frozen=True)
class SimulatedTarget:
    """What one target precision would do."""

    target_precision: float
    is_present: bool
    """Whether it is the one in use."""
    mail: SimulatedMail
    labels: tuple[SimulatedMail, ...]
    changed: tuple[str, ...]
    """The ids of the tickets that would have been decided otherwise than they are."""

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON has them, but for the ids."""
        return {
            "target_precision": self.target_precision,
            "is_present": self.is_present,
            "mail": asdict(self.mail),
            "labels": [asdict(label) for label in self.labels],
        }


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

    def rows(self) -> list[dict[str, Any]]:
        """The rows of the table threshold_simulation."""
        days = {
            "first_day": datetime.combine(self.first_day, time.min),
            "last_day": datetime.combine(self.last_day, time.min),
            "model_version": self.model_version,
        }
        return [
            {
                "target_precision": target.target_precision,
                "is_present": target.is_present,
                **asdict(mail),
                **days,
            }
            for target in self.targets
            for mail in (target.mail, *target.labels)
        ]

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
    last_day = desk.warehouse.last_day("ticket_predictions")
    if last_day is None:
        raise SimulationError("No ticket has been sorted yet: tickets run")
    first_day = last_day - timedelta(days=(days or desk.settings.simulation_days) - 1)
    tickets = desk.warehouse.frame(
        "select ticket_id, received_at, model_category as category,"
        " category_confidence as confidence, review_reason, decision = 'labelled' as is_labelled"
        " from ticket_predictions"
        " where received_at::date between ? and ?"
        # In one order: sums differ in their last digits by the order of what is added.
        " order by received_at, ticket_id",
        [first_day, last_day],
    )
    if len(tickets):
        first_day = tickets["received_at"].min().date()
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
    weeks = _Weeks.of(tickets["received_at"])
    open_tickets = ~tickets["is_labelled"].to_numpy(dtype=bool)
    ids = tickets["ticket_id"].to_numpy()
    thresholds_by_target = trained.evaluation.targets["category"].simulated_thresholds
    simulated = []
    for precision, thresholds in thresholds_by_target.items():
        least = _strictest(model.labels, thresholds, names)
        shown = evidence.automatic(least)
        tried = _Tried(
            weeks,
            sorted_tickets.confidence,
            sorted_tickets.automatic(least),
            present,
            open_tickets,
            PrecisionEstimator.fit(evidence.confidence[shown], is_right[shown]),
            costs,
        )
        simulated.append(
            SimulatedTarget(
                target_precision=float(precision),
                is_present=precision == target_name(trained.evaluation.target_precision),
                mail=tried.mail(None, np.ones(len(tickets), dtype=bool)),
                labels=tuple(
                    tried.mail(name, sorted_tickets.codes == code)
                    for code, name in enumerate(names)
                ),
                changed=tuple(ids[open_tickets & (tried.automatic != present)]),
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


@dataclass(frozen=True)
class _Weeks:
    """The week of each ticket, counted back from the latest."""

    numbers: NDArray[np.integer[Any]]
    growth: float
    """Tickets that the forecast expects for each of these."""

    @classmethod
    def of(cls, received_at: pd.Series[Any]) -> _Weeks:
        if received_at.empty:
            return cls(np.zeros(0, np.int64), 0.0)
        age = (received_at.max().normalize() - received_at.dt.normalize()).dt.days.to_numpy()
        return cls(age // 7, FORECAST_DAYS / (int(age.max()) + 1))


@dataclass(frozen=True)
class _Tried:
    """Tickets as one target would have decided them; arrays are aligned."""

    weeks: _Weeks
    confidence: NDArray[np.floating[Any]]
    automatic: NDArray[np.bool_]
    present: NDArray[np.bool_]
    """Whether they are automatic at the target in use."""
    open_tickets: NDArray[np.bool_]
    """Whether no person has labelled them."""
    estimator: PrecisionEstimator | None
    costs: Costs

    def mail(self, label: str | None, of_label: NDArray[np.bool_]) -> SimulatedMail:
        growth = self.weeks.growth
        decided = of_label & self.automatic
        count = int(decided.sum())
        share = low = high = estimate = None
        if of_label.any():
            share, low, high = _share(decided[of_label], self.weeks.numbers[of_label], growth)
        if self.estimator is not None and count:
            estimate = self.estimator.forecast(self.confidence[decided], count * growth)
        may_change = of_label & self.open_tickets
        return SimulatedMail(
            label=label,
            tickets=int(of_label.sum()),
            share=share,
            share_low=low,
            share_high=high,
            precision=estimate.precision if estimate else None,
            precision_low=estimate.low if estimate else None,
            precision_high=estimate.high if estimate else None,
            minutes_saved=count * growth * self.costs.to_sort,
            minutes_of_errors=count * growth * (1 - estimate.precision) * self.costs.per_error
            if estimate
            else None,
            automatic=int((may_change & self.automatic).sum()),
            to_automatic=int((may_change & self.automatic & ~self.present).sum()),
            to_review=int((may_change & ~self.automatic & self.present).sum()),
        )


def _share(
    automatic: NDArray[np.bool_], week: NDArray[np.integer[Any]], growth: float
) -> tuple[float, float, float]:
    """The share of automatic tickets, and the 90 % interval of that of the forecast.

    Tickets of a week are alike (a campaign, an outage), so its share differs more from those of
    others than the tickets' number alone explains. The variance is larger by as much as Pearson's
    chi-square of the weeks exceeds its degrees of freedom (McCullagh and Nelder 1989, 4.5).
    """
    count, total = int(automatic.sum()), len(automatic)
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
