"""Whether a new model is trained: one row of the table for each reason to, and each not to."""

from datetime import UTC, date, datetime, timedelta

import pytest

from ticket_assets.planning.retraining import LOST_PRECISION, Decision, Drift, LearningState, decide
from ticket_assets.settings import Settings

NOW = datetime(2025, 6, 20, 12, tzinfo=UTC)
DRIFT = Drift(date(2025, 6, 17), date(2025, 6, 19), ("embedding", "language"))
DRIFT_IN_WORDS = "drift from 2025-06-17 to 2025-06-19 (embedding, language)"


@pytest.fixture
def settings() -> Settings:
    return Settings(retrain_min_labels=200, retrain_labels=1000, retrain_pause_hours=24)


def state(new_labels: int, drift: Drift | None = None, champion: str | None = "a") -> LearningState:
    return LearningState(champion, "c", new_labels, drift)


@pytest.mark.parametrize(
    ("present", "hours_since_training", "reason", "key"),
    [
        (
            state(5000, DRIFT, champion=None),
            None,
            "No champion yet: new_mail has the first one learnt.",
            None,
        ),
        (
            state(12, DRIFT),
            None,
            f"Not trained: {DRIFT_IN_WORDS}, but only 12 new labels since the last training: 200"
            " are needed.",
            None,
        ),
        (
            state(200, DRIFT),
            None,
            f"Trained: {DRIFT_IN_WORDS}, 200 new labels since the last training.",
            "drift since 2025-06-17, after c",
        ),
        (
            state(200, DRIFT),
            24,
            f"Trained: {DRIFT_IN_WORDS}, 200 new labels since the last training.",
            "drift since 2025-06-17, after c",
        ),
        (
            state(200, DRIFT),
            23,
            f"Not trained: {DRIFT_IN_WORDS}, 200 new labels since the last training, but the last"
            " training was at 2025-06-19 13:00 UTC: the next one is from 2025-06-20 13:00 UTC on.",
            None,
        ),
        (
            state(999),
            None,
            "Not trained: no drift on the latest day, and 999 new labels since the last training,"
            " where 1,000 train a new model.",
            None,
        ),
        (
            state(1000),
            None,
            "Trained: 1,000 new labels since the last training.",
            "labels, after c",
        ),
        # The clock was put back: a training in the future keeps nothing back.
        (
            state(1000),
            -3,
            "Trained: 1,000 new labels since the last training.",
            "labels, after c",
        ),
    ],
)
def test_a_model_is_trained_for_drift_or_labels_and_not_soon_after_another(
    settings: Settings,
    present: LearningState,
    hours_since_training: int | None,
    reason: str,
    key: str | None,
):
    last = None if hours_since_training is None else NOW - timedelta(hours=hours_since_training)

    decision = decide(present, settings, last, NOW)

    assert (decision.reason, decision.key) == (reason, key)


def test_a_drift_that_goes_on_is_the_same_cause(settings: Settings):
    longer = Drift(DRIFT.first_day, date(2025, 6, 20), DRIFT.metrics)

    keys = {decide(state(300, drift), settings, None, NOW).key for drift in (DRIFT, longer)}

    assert len(keys) == 1


def test_lost_precision_is_a_reason_as_drift_is(settings: Settings):
    few = decide(state(12), settings, None, NOW, is_imprecise=True)
    enough = decide(state(300), settings, None, NOW, is_imprecise=True)

    assert few == Decision(
        f"Not trained: {LOST_PRECISION}, but only 12 new labels since the last training: 200 are"
        " needed.",
        None,
    )
    assert enough.key == f"{LOST_PRECISION}, after c"
