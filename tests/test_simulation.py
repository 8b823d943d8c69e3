from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck
from hypothesis import given as given_examples
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from tests.classification.conftest import bag_vectors, make_tickets
from ticket_assets.classification.selection import SIMULATED_TARGETS
from ticket_assets.classification.training import TrainedClassifier, train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet
from ticket_assets.simulation import Costs, Simulation, simulated_targets
from ticket_assets.storage.tables import TABLES

LABELS = ("access", "network", "printing")
COSTS = Costs(to_sort=2, per_error=10)


@pytest.fixture(scope="module")
def really_trained() -> TrainedClassifier:
    tickets = make_tickets(400)
    options = TrainingOptions(target_precision=0.9, folds=3)
    return train(TrainingSet(tickets, bag_vectors(tickets["text"].tolist()), "bag"), options)


@pytest.fixture
def trained(really_trained: TrainedClassifier) -> TrainedClassifier:
    """A classifier with thresholds by hand: at 90 %, its target, and at 80 and 99 %."""
    category = really_trained.classifier.targets["category"]
    assert category.labels == LABELS
    thresholds = {"0.8": (0.5, 0.5, 0.5), "0.9": (0.8, 0.7, 2.0), "0.99": (0.95, 2.0, 2.0)}
    scores = replace(really_trained.evaluation.targets["category"], simulated_thresholds=thresholds)
    return replace(
        really_trained,
        classifier=replace(
            really_trained.classifier,
            targets={"category": replace(category, thresholds=np.array(thresholds["0.9"]))},
        ),
        evaluation=replace(really_trained.evaluation, targets={"category": scores}),
        training_tickets=pd.DataFrame(
            {
                "ticket_id": [f"learnt{row}" for row in range(400)],
                "category": ["access"] * 200 + ["network"] * 200,
                "category_confidence": np.repeat([0.99, 0.75], 200),
            }
        ),
    )


def given(trained: TrainedClassifier) -> pd.Series:
    """What people said of the training tickets: one in ten of `network` is wrong."""
    said = trained.training_tickets.set_index("ticket_id")["category"].copy()
    said[200::10] = "printing"
    return said


def tickets(*rows, labelled=()):
    """Tickets of 30 days, one after another, so that as many are forecast."""
    columns = ["ticket_id", "category", "confidence", "review_reason"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(
        received_at=pd.Timestamp("2026-03-01")
        + pd.to_timedelta(np.linspace(0, 29, len(frame)), unit="D"),
        is_labelled=frame["ticket_id"].isin(labelled),
    )


@pytest.mark.slow
def test_a_trained_model_keeps_the_thresholds_of_each_target(really_trained):
    scores = really_trained.evaluation.targets["category"]

    assert list(scores.simulated_thresholds) == [f"{target:g}" for target in SIMULATED_TARGETS]
    in_use = really_trained.classifier.targets["category"].thresholds
    assert scores.simulated_thresholds["0.9"] == tuple(in_use)
    lenient, strict = (scores.simulated_thresholds[target] for target in ("0.8", "0.99"))
    assert (np.array(lenient) <= strict).all()


def test_what_each_target_would_have_decided(trained):
    recent = tickets(
        ("a", "access", 0.97, None),
        ("b", "access", 0.85, None),
        ("c", "network", 0.75, None),
        ("d", "network", 0.60, "unsure"),
        ("e", "printing", 0.99, "always_reviewed"),
        # Whatever the thresholds are, a person looks at it.
        ("f", "access", 0.99, "unlike_learnt"),
        # The model no longer knows this category.
        ("g", "telephony", 0.99, None),
    )

    lowest, present, highest = simulated_targets(recent, trained, given(trained), COSTS)

    assert [one.target_precision for one in (lowest, present, highest)] == [0.8, 0.9, 0.99]
    assert [one.is_present for one in (lowest, present, highest)] == [False, True, False]
    assert [one.mail.automatic for one in (lowest, present, highest)] == [5, 3, 1]
    assert [one.mail.share for one in (lowest, present, highest)] == [5 / 7, 3 / 7, 1 / 7]
    assert [one.mail.to_automatic for one in (lowest, present, highest)] == [2, 0, 0]
    assert [one.mail.to_review for one in (lowest, present, highest)] == [0, 0, 2]
    assert [one.changed for one in (lowest, present, highest)] == [("d", "e"), (), ("b", "c")]
    by_label = {one.label: (one.tickets, one.share) for one in lowest.labels}
    assert by_label == {"access": (3, 2 / 3), "network": (2, 1.0), "printing": (1, 1.0)}


def test_a_ticket_that_was_learnt_counts_as_it_was_recorded_out_of_fold(trained):
    # Surely predicted by the model that has learnt it, and as unsure as any without that
    recent = tickets(("learnt399", "printing", 1.0, "unlike_learnt"))

    lowest, present, highest = simulated_targets(recent, trained, given(trained), COSTS)

    assert [one.mail.automatic for one in (lowest, present, highest)] == [1, 1, 0]
    assert [one.label for one in present.labels if one.share] == ["network"]


def test_a_ticket_that_was_learnt_is_as_sure_as_out_of_fold_and_no_surer(trained):
    # 0.75 out of fold
    recent = tickets(("learnt300", "network", 0.6, None), ("learnt301", "network", 1.0, None))
    network = replace(trained.classifier.targets["category"], thresholds=np.array([0.8, 0.9, 2.0]))
    scores = trained.evaluation.targets["category"]
    stricter = replace(
        trained,
        classifier=replace(trained.classifier, targets={"category": network}),
        evaluation=replace(
            trained.evaluation,
            targets={
                "category": replace(
                    scores, simulated_thresholds={"0.8": (0.8, 0.7, 2.0), "0.9": (0.8, 0.9, 2.0)}
                )
            },
        ),
    )

    lenient, present = simulated_targets(recent, stricter, given(stricter), COSTS)

    assert [one.mail.automatic for one in (lenient, present)] == [2, 0]


def test_what_a_person_has_labelled_is_forecast_and_never_automatic(trained):
    recent = tickets(
        ("a", "access", 0.97, None), ("b", "network", 0.6, "unsure"), labelled=("a", "b")
    )

    lowest, present, highest = simulated_targets(recent, trained, given(trained), COSTS)

    assert [one.mail.share for one in (lowest, present, highest)] == [1, 0.5, 0.5]
    assert [one.mail.automatic for one in (lowest, present, highest)] == [0, 0, 0]
    assert [one.changed for one in (lowest, present, highest)] == [(), (), ()]


def test_the_share_that_is_right_and_what_it_saves(trained):
    recent = tickets(*((f"t{row}", "network", 0.75, None) for row in range(1000)))

    _, present, highest = simulated_targets(recent, trained, given(trained), COSTS)

    # Of the 200 tickets as unsure as these that show it, 180 are right.
    assert present.mail.automatic == 1000
    assert present.mail.precision == pytest.approx(0.9, abs=0.005)
    assert 0.85 < present.mail.precision_low < 0.88
    assert 0.92 < present.mail.precision_high < 0.95
    assert present.mail.minutes_saved == pytest.approx(1000 * 2)
    assert present.mail.minutes_of_errors == pytest.approx(1000 * (1 - present.mail.precision) * 10)
    (network,) = (one for one in present.labels if one.share)
    assert (network.precision, network.precision_low) == (
        present.mail.precision,
        present.mail.precision_low,
    )
    assert (highest.mail.automatic, highest.mail.precision, highest.mail.minutes_saved) == (
        0,
        None,
        0,
    )


def test_the_forecast_is_of_thirty_days_whatever_days_are_simulated(trained):
    month = tickets(*((f"t{row}", "network", 0.75, None) for row in range(3000)))
    first_days = month[month["received_at"] < "2026-03-11"]

    forecasts = [
        simulated_targets(recent, trained, given(trained), COSTS)[1]
        for recent in (month, first_days)
    ]

    for forecast in forecasts:
        assert forecast.mail.minutes_saved == pytest.approx(3000 * 2, rel=0.05)


def test_weeks_that_differ_make_the_forecast_of_the_share_less_sure(trained):
    # The same half is automatic: each second ticket, or those of each second week.
    mixed = tickets(
        *((f"t{row}", "network", 0.75 if row % 2 else 0.4, None) for row in range(2800))
    )
    week = (29 - (mixed["received_at"] - mixed["received_at"].min()).dt.days) // 7
    by_week = mixed.assign(confidence=np.where(week % 2, 0.75, 0.4))

    alike, unlike = (
        simulated_targets(recent, trained, given(trained), COSTS)[1].mail
        for recent in (mixed, by_week)
    )

    assert alike.share == 0.5
    assert 0.45 < alike.share_low < alike.share < alike.share_high < 0.55
    assert unlike.share_high - unlike.share_low > 10 * (alike.share_high - alike.share_low)


@pytest.mark.slow
@given_examples(
    confidences=st.lists(st.floats(0.3, 1), min_size=1, max_size=60),
    thresholds=st.lists(st.floats(0.5, 1), min_size=2, max_size=6).map(sorted),
)
@example_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_share_falls_as_the_thresholds_rise_and_each_change_goes_one_way(
    trained, confidences, thresholds
):
    in_use = len(thresholds) // 2
    category = trained.classifier.targets["category"]
    scores = replace(
        trained.evaluation.targets["category"],
        simulated_thresholds={
            f"0.{80 + number}": (threshold,) * 3 for number, threshold in enumerate(thresholds)
        },
    )
    moved = replace(
        trained,
        classifier=replace(
            trained.classifier,
            targets={"category": replace(category, thresholds=np.full(3, thresholds[in_use]))},
        ),
        evaluation=replace(trained.evaluation, targets={"category": scores}),
    )
    recent = tickets(*((f"t{row}", "access", one, None) for row, one in enumerate(confidences)))

    simulated = simulated_targets(recent, moved, given(moved), COSTS)

    shares = [target.mail.share for target in simulated]
    assert shares == sorted(shares, reverse=True)
    assert simulated[in_use].changed == ()
    assert not any(target.mail.to_review for target in simulated[:in_use])
    assert not any(target.mail.to_automatic for target in simulated[in_use:])
    for mail in (target.mail for target in simulated):
        assert mail.share_low <= mail.share <= mail.share_high
        assert mail.automatic - simulated[in_use].mail.automatic == (
            mail.to_automatic - mail.to_review
        )


def test_no_precision_is_said_where_too_few_tickets_show_it(trained):
    few = replace(trained, training_tickets=trained.training_tickets[:99])
    recent = tickets(("a", "access", 0.97, None))

    _, present, _ = simulated_targets(recent, few, given(trained), COSTS)

    assert (present.mail.automatic, present.mail.precision, present.mail.precision_low) == (
        1,
        None,
        None,
    )


def test_of_categories_that_were_merged_the_strictest_threshold_counts(trained):
    category = replace(trained.classifier.targets["category"], labels=("access", "mail", "mail"))
    merged = replace(
        trained, classifier=replace(trained.classifier, targets={"category": category})
    )
    recent = tickets(("a", "mail", 0.99, None), ("b", "access", 0.9, None))

    lowest, present, _ = simulated_targets(recent, merged, given(trained), COSTS)

    assert (lowest.mail.automatic, present.mail.automatic) == (2, 1)
    assert [one.label for one in lowest.labels] == ["access", "mail"]


def test_no_ticket_at_all(trained):
    for target in simulated_targets(tickets(), trained, given(trained), COSTS):
        mail = target.mail
        assert (mail.tickets, mail.share, mail.precision, mail.minutes_saved) == (0, None, None, 0)


def test_the_rows_of_the_table_are_all_tickets_and_each_label_of_each_target(trained):
    recent = tickets(("a", "access", 0.97, None), ("b", "network", 0.75, None))
    targets = simulated_targets(recent, trained, given(trained), COSTS)
    first, last = date(2026, 3, 1), date(2026, 3, 30)

    rows = TABLES["threshold_simulation"].frame(
        Simulation(first, last, 2, 0, "model", targets).rows()
    )

    assert len(rows) == 3 * (1 + len(LABELS))
    assert rows["label"].tolist() == [None, *LABELS] * 3
    (all_at_99,) = rows[(rows["target_precision"] == 0.99) & rows["label"].isna()].to_dict(
        "records"
    )
    assert (all_at_99["tickets"], all_at_99["share"], all_at_99["to_review"]) == (2, 0.5, 1)
    assert all_at_99["last_day"] == pd.Timestamp("2026-03-30")
