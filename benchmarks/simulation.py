"""Whether what `tickets simulate` forecasts of 30 days comes, on 18 months of three desks' mail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.drift import Mail
from benchmarks.table import Line, at_least
from ticket_assets.classification.familiarity import Familiarity
from ticket_assets.classification.features import Booleans
from ticket_assets.classification.training import TrainedClassifier, train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet
from ticket_assets.simulation import FORECAST_DAYS, Costs, simulated_targets

PART = "simulation"
DAYS = 540
SIMULATED_DAYS = 90
FIRST_WINDOW = 120
STEP = FORECAST_DAYS
"""Days from one forecast to the next, for which a model is trained: what comes of two forecasts is
other mail, so that each counts as one trial."""
STREAMS = (7, 8, 9)
"""Seeds of the generated mail."""
WINDOWS = (DAYS - FORECAST_DAYS - FIRST_WINDOW) // STEP + 1
LABELLED_SHARE = 0.7
OPTIONS = TrainingOptions(max_tickets=2_000)
LEAST_COVERED = 0.85
SHOWN_TARGETS = (0.80, 0.90, 0.95, 0.97)


@dataclass(frozen=True)
class Forecast:
    """What was forecast of one figure, and what came."""

    expected: float
    low: float
    high: float
    realised: float

    @classmethod
    def of(
        cls, expected: float | None, low: float | None, high: float | None, came: Booleans
    ) -> Forecast:
        """Where something was forecast: what came of each of the tickets."""
        expected, low, high = (np.nan if one is None else one for one in (expected, low, high))
        return cls(expected, low, high, float(came.mean()))

    @property
    def is_covered(self) -> bool:
        return self.low <= self.realised <= self.high


Forecasts = dict[float, list[Forecast]]
"""By target precision, in the order of the windows."""


def forecasts(
    streams: Iterable[Mail],
    windows: int = WINDOWS,
    on_progress: Callable[[str], None] = lambda _: None,
) -> tuple[Forecasts, Forecasts]:
    """Forecasts of the automatic share, and of the precision where one was given and any ticket was
    automatic.

    People have labelled a share of the tickets at random; what came is held against the categories
    that they give or would give.

    Args:
        streams: tickets of `DAYS` days of a desk, each with a category.
        windows: so many of each desk, the first ones.
    """
    shares: Forecasts = {}
    precisions: Forecasts = {}
    for number, mail in enumerate(streams, 1):
        tickets = mail.tickets
        start = tickets["received_at"].min().normalize()
        day = (tickets["received_at"] - start).dt.days.to_numpy()
        is_labelled = np.random.default_rng(0).random(len(tickets)) < LABELLED_SHARE
        given = tickets.set_index("ticket_id")["category"]
        for window in range(windows):
            today = FIRST_WINDOW + window * STEP
            trained = _train(mail.rows(np.flatnonzero(is_labelled & (day < today))))
            recent = np.flatnonzero((day >= today - SIMULATED_DAYS) & (day < today))
            coming = np.flatnonzero((day >= today) & (day < today + FORECAST_DAYS))
            simulated = simulated_targets(
                _sorted(mail.rows(recent), trained).assign(is_labelled=is_labelled[recent]),
                trained,
                given.loc[given.index.isin(trained.training_tickets["ticket_id"])],
                Costs(1, 1),
            )
            came = _sorted(mail.rows(coming), trained)
            is_right = (came["category"] == tickets["category"].to_numpy()[coming]).to_numpy()
            model = trained.classifier.targets["category"]
            codes = pd.Categorical(came["category"], categories=list(model.labels)).codes
            least = trained.evaluation.targets["category"].simulated_thresholds
            for target, thresholds in zip(simulated, least.values(), strict=True):
                automatic = (came["confidence"] >= np.array(thresholds)[codes]).to_numpy()
                automatic &= came["review_reason"].isna().to_numpy()
                told = target.mail
                shares.setdefault(target.target_precision, []).append(
                    Forecast.of(told.share, told.share_low, told.share_high, automatic)
                )
                if told.precision is not None and automatic.any():
                    precisions.setdefault(target.target_precision, []).append(
                        Forecast.of(
                            told.precision,
                            told.precision_low,
                            told.precision_high,
                            is_right[automatic],
                        )
                    )
            on_progress(f"Desk {number}: window {window + 1} of {windows}")
    return shares, precisions


def _train(learnt: Mail) -> TrainedClassifier:
    tickets = learnt.tickets.assign(priority=None)
    return train(TrainingSet(tickets, learnt.vectors, "stream"), OPTIONS)


def _sorted(mail: Mail, trained: TrainedClassifier) -> pd.DataFrame:
    predicted = trained.classifier.predict(mail.tickets, mail.vectors)
    familiarity = Familiarity.of(trained.reference, trained.vocabulary, trained.classifier.space)
    return pd.DataFrame(
        {
            "ticket_id": mail.tickets["ticket_id"],
            "received_at": mail.tickets["received_at"],
            "category": predicted["category"],
            "confidence": predicted["category_confidence"],
            "review_reason": familiarity.reasons(mail.tickets, mail.vectors),
        }
    )


def forecast_lines(shares: Forecasts, precisions: Forecasts) -> Iterator[Line]:
    """How often each interval held what came, and how far from it the forecasts were."""
    for figure, by_target in (("automatic share", shares), ("precision", precisions)):
        for target in SHOWN_TARGETS:
            windows = by_target.get(target, [])
            if not windows:
                yield Line(PART, f"{figure} at {target:.0%}", "no forecast")
                continue
            covered = float(np.mean([one.is_covered for one in windows]))
            off = float(np.mean([abs(one.expected - one.realised) for one in windows]))
            width = float(np.mean([one.high - one.low for one in windows]))
            realised = float(np.mean([one.realised for one in windows]))
            yield at_least(
                PART,
                f"{figure} at {target:.0%}: within the 90 % interval, of {len(windows)} windows"
                f" (in the mean {realised:.1%}, {off:.1%} off, interval of {width:.1%})",
                covered,
                LEAST_COVERED,
            )
