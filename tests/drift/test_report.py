"""A day's mail against the training reference: what warns, what does not, and what is written."""

import json
import re
from datetime import date

import numpy as np
import pandas as pd
import pytest

from ticket_assets.drift.estimated_precision import PrecisionEstimator
from ticket_assets.drift.report import Comparison, DriftError
from ticket_assets.settings import DRIFT_DISTANCES

DAY = date(2026, 3, 4)
LANGUAGES = ["fr", "en", "de", "es", "pt"]
LANGUAGE_SHARES = [0.5, 0.32, 0.08, 0.06, 0.04]
CATEGORIES = ["network", "account", "printer", "mailbox", "hardware", "software", "other"]
CATEGORY_SHARES = [0.3, 0.2, 0.15, 0.13, 0.1, 0.08, 0.04]
MEANINGS = np.random.default_rng(0).normal(size=(len(CATEGORIES), 32))


def mail(rows, seed, languages=LANGUAGE_SHARES, categories=CATEGORY_SHARES, oov_share=0.05):
    random = np.random.default_rng(seed)
    category = random.choice(len(CATEGORIES), rows, p=categories)
    vectors = MEANINGS[category] + random.normal(size=(rows, 32))
    return pd.DataFrame(
        {
            "ticket_id": [f"{seed:010x}{row:010x}" for row in range(rows)],
            "language": random.choice(LANGUAGES, rows, p=languages),
            "character_count": random.lognormal(6, 0.8, rows).astype(int),
            "category": np.array(CATEGORIES, dtype=object)[category],
            "category_confidence": random.beta(6, 2, rows),
            "oov_share": random.beta(15 * oov_share, 15 * (1 - oov_share), rows),
            "vector": list(vectors.astype(np.float32)),
            "text_hash": [f"{seed:x}-{row:x}" for row in range(rows)],
            "unknown_words": [(f"word{seed}{row}",) for row in range(rows)],
        }
    )


REFERENCE = mail(1000, seed=1).assign(folds=10)


def comparison(reference=REFERENCE, floors=DRIFT_DISTANCES):
    return Comparison(reference, model_version="m1", floors=floors, seed=7, vocabulary_words=3000)


def compare(current, reference=REFERENCE, **options):
    return comparison(reference).report(current, day=DAY, **options)


@pytest.mark.slow
def test_quiet_days_of_any_size_do_not_warn():
    reports = [compare(mail(rows, seed=rows)) for rows in (1, 3, 20, 35, 50, 80, 150, 1500)]

    assert [report.drifted_metrics for report in reports] == [[]] * len(reports)
    assert all(report.html is None for report in reports)


@pytest.mark.parametrize(
    ("shift", "drifted"),
    [
        ({"languages": [0.2, 0.68, 0.05, 0.04, 0.03]}, ["language"]),
        (
            {"categories": [0.04, 0.08, 0.1, 0.1, 0.13, 0.15, 0.4]},
            ["category", "category_share", "embedding"],
        ),
        ({"oov_share": 0.2}, ["oov_share"]),
    ],
)
def test_shifted_day_warns_in_the_metrics_that_moved(shift, drifted):
    report = compare(mail(80, seed=5, **shift))

    assert report.drifted
    assert report.drifted_metrics == drifted


METRICS_DTYPES = {
    "received_at": "datetime64[us]",
    "metric": "object",
    "method": "object",
    "distance": "float64",
    "threshold": "float64",
    "drifted": "bool",
    "reference_rows": "int64",
    "current_rows": "int64",
    "window_days": "int64",
    "model_version": "object",
}


def test_figures_of_a_day_are_complete_and_typed():
    report = compare(mail(50, seed=5), window_days=2)

    metrics = report.metrics
    assert metrics.dtypes.astype(str).to_dict() == METRICS_DTYPES
    assert metrics["metric"].tolist() == [
        "language",
        "category",
        "category_share",
        "character_count",
        "category_confidence",
        "oov_share",
        "embedding",
        "new_word",
    ]
    assert set(metrics["received_at"]) == {pd.Timestamp("2026-03-04")}
    assert set(metrics["reference_rows"]) == {1000}
    assert set(metrics["current_rows"]) == {50}
    assert set(metrics["window_days"]) == {2}
    assert set(metrics["model_version"]) == {"m1"}
    assert (metrics["threshold"] >= metrics["metric"].map(DRIFT_DISTANCES)).all()
    assert metrics["drifted"].tolist() == (metrics["distance"] >= metrics["threshold"]).tolist()


def test_smallest_distance_that_counts_can_be_raised():
    shifted = mail(80, seed=5, oov_share=0.2)

    report = comparison(floors=dict.fromkeys(DRIFT_DISTANCES, 50.0)).report(shifted, day=DAY)

    assert set(report.metrics["threshold"]) == {50.0}
    assert not report.drifted


@pytest.mark.slow
def test_distances_and_verdicts_are_those_of_evidently():
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift

    current = mail(80, seed=5, languages=[0.2, 0.68, 0.05, 0.04, 0.03], oov_share=0.2)

    metrics = compare(current).metrics

    columns = metrics[metrics["method"].isin(["jensenshannon", "wasserstein"])]
    categorical = ["language", "category"]
    numerical = ["character_count", "category_confidence", "oov_share"]
    definition = DataDefinition(categorical_columns=categorical, numerical_columns=numerical)
    snapshot = Report(
        [
            ValueDrift(column=row.metric, method=row.method, threshold=row.threshold)
            for row in columns.itertuples()
        ],
        include_tests=True,
    ).run(
        Dataset.from_pandas(current[categorical + numerical], definition),
        Dataset.from_pandas(REFERENCE[categorical + numerical], definition),
    )
    expected = snapshot.dict()
    np.testing.assert_allclose(
        columns["distance"], [float(metric["value"]) for metric in expected["metrics"]]
    )
    assert columns["drifted"].tolist() == [
        test["status"].value == "FAIL" for test in expected["tests"]
    ]
    assert columns["drifted"].any()
    assert not columns["drifted"].all()


def test_embedding_distance_is_in_spreads_of_the_reference_around_its_mean():
    reference, current = np.stack(REFERENCE["vector"]), mail(50, seed=5)
    mean = reference.mean(axis=0)
    spread = np.sqrt(((reference - mean) ** 2).sum(axis=1).mean())

    metrics = compare(current).metrics.set_index("metric")

    moved = np.stack(current["vector"]).mean(axis=0) - mean
    expected = np.linalg.norm(moved) / spread
    assert metrics.loc["embedding", "distance"] == pytest.approx(expected, rel=1e-4)


def with_new_word(current):
    """The unknown words, of which every fifth ticket has the same."""
    words = current["unknown_words"].tolist()
    return [("orvanto",) if row % 5 == 0 else own for row, own in enumerate(words)]


@pytest.mark.slow
def test_a_category_that_grows_by_half_is_noticed_in_a_thousand_tickets():
    grown = [0.45, *(0.55 / 0.7 * share for share in CATEGORY_SHARES[1:])]

    report = compare(mail(1000, seed=5, categories=grown))

    assert "category_share" in report.drifted_metrics


@pytest.mark.slow
def test_a_new_product_is_noticed_by_its_name():
    current = mail(80, seed=5)
    named = with_new_word(current)

    report = compare(current.assign(unknown_words=named))

    assert report.drifted_metrics == ["new_word"]
    new_word = json.loads(report.json)["metrics"][-1]
    assert (new_word["word"], new_word["distance"]) == ("orvanto", 0.2)


def test_copies_of_one_mail_bring_no_new_word():
    current = mail(80, seed=5)
    copies = current["text_hash"].where(current.index % 5 > 0, "copied")
    named = with_new_word(current)

    assert not compare(current.assign(text_hash=copies, unknown_words=named)).drifted


def test_a_shift_too_small_for_a_day_adds_up_over_the_week():
    week = mail(700, seed=5, languages=[0.36, 0.46, 0.08, 0.06, 0.04])
    day = week.iloc[-60:]

    report = compare(day, week=week, html="never")

    by_window = report.metrics.groupby("window_days")["drifted"].any().to_dict()
    assert by_window == {1: False, 7: True}
    assert report.drifted_metrics == ["language"]


@pytest.mark.parametrize(("confidence", "drifts"), [(0.97, False), (0.8, True)])
def test_automatic_tickets_that_are_likelier_wrong_than_the_target_allows_are_drift(
    confidence, drifts
):
    learnt = np.random.default_rng(1).random(1000) < 0.97
    estimator = PrecisionEstimator.fit(np.full(1000, 0.97), learnt, target=0.95)
    watched = Comparison(
        REFERENCE, model_version="m1", floors=DRIFT_DISTANCES, seed=7, estimator=estimator
    )
    current = mail(200, seed=5).assign(decision="auto", is_learnt=False)
    # What it learnt from, and what a person sorts, says nothing of the precision.
    current.loc[:49, "is_learnt"] = True
    current.loc[50:99, "decision"] = "review"
    current.loc[100:, "category_confidence"] = confidence

    report = watched.report(current, day=DAY, html="never")

    row = json.loads(report.json)["metrics"][-1]
    assert (row["metric"], row["current_rows"]) == ("automatic_errors", 100)
    assert row["distance"] == pytest.approx(1 - confidence, abs=0.02)
    figures = report.estimated_precision
    assert figures["estimated_precision"] == 1 - row["distance"]
    assert figures["estimated_precision_low"] < 1 - row["distance"]
    assert figures["estimated_precision_high"] > 1 - row["distance"]
    by_category = row["estimated_precision_by_category"]
    assert by_category.keys() == set(current.loc[100:, "category"])
    precision = figures["estimated_precision"]
    assert by_category == pytest.approx(dict.fromkeys(by_category, precision))
    assert ("automatic_errors" in report.drifted_metrics) == drifts


def test_the_reference_of_an_earlier_release_is_compared_and_named():
    report = compare(mail(50, seed=5), REFERENCE.drop(columns="folds"))

    assert not report.drifted
    assert "Train again" in report.note
    assert json.loads(report.json)["note"] == report.note
    assert compare(mail(50, seed=5)).note == ""


def test_json_names_the_day_the_metrics_and_evidentlys_own_results():
    document = json.loads(compare(mail(50, seed=5)).json)

    assert document["day"] == "2026-03-04"
    assert document["model_version"] == "m1"
    assert [row["metric"] for row in document["metrics"]][:2] == ["language", "category"]
    (evidently,) = document["evidently"]
    assert [metric["value"] for metric in evidently["metrics"]] == [
        row["distance"] for row in document["metrics"]
    ]
    assert {test["status"] for test in evidently["tests"]} == {"SUCCESS"}


def test_html_is_self_contained_and_holds_no_ticket():
    current = mail(50, seed=5).assign(text="Bonjour, mon imprimante", sender="a@example.org")

    html = compare(current, html="always").html

    assert html is not None
    assert not re.findall(r"<(?:script|link|img|iframe)[^>]+(?:src|href)=", html)
    assert "Bonjour, mon imprimante" not in html
    assert "a@example.org" not in html
    assert current["ticket_id"].iloc[0] not in html
    assert "category_confidence" in html


@pytest.mark.slow
def test_drifted_day_has_html_unless_it_would_not_be_kept():
    shifted = mail(80, seed=5, oov_share=0.2)

    assert compare(shifted).html is not None
    unkept = compare(shifted, html="never")
    assert unkept.drifted
    assert unkept.html is None


@pytest.mark.slow
def test_days_compared_with_one_reference_do_not_influence_each_other():
    days = [mail(rows, seed=rows) for rows in (80, 50, 80)]
    one_after_the_other = comparison()

    together = [one_after_the_other.report(day, day=DAY).json for day in days]

    assert together == [compare(day).json for day in days]


def test_same_tickets_in_any_order_give_the_same_figures():
    current = mail(50, seed=5)

    first = compare(current)
    second = compare(
        current.sample(frac=1, random_state=1), REFERENCE.sample(frac=1, random_state=2)
    )

    pd.testing.assert_frame_equal(first.metrics, second.metrics)
    assert first.json == second.json


def test_empty_day_has_no_figures_and_does_not_warn():
    report = compare(REFERENCE.iloc[:0], html="always")

    assert report.metrics.empty
    assert report.metrics.dtypes.astype(str).to_dict() == METRICS_DTYPES
    assert not report.drifted
    assert report.drifted_metrics == []
    assert report.html is None
    assert json.loads(report.json)["metrics"] == []


@pytest.mark.slow
def test_one_category_and_constant_columns_are_compared():
    constant = {"language": "fr", "category": "network", "oov_share": 0.0}
    reference = REFERENCE.assign(**constant)

    quiet = compare(mail(50, seed=5).assign(**constant), reference)
    moved = compare(mail(50, seed=5).assign(**constant | {"language": "en"}), reference)

    distances = quiet.metrics.set_index("metric")["distance"]
    assert distances[["language", "category", "oov_share"]].tolist() == [0.0, 0.0, 0.0]
    assert not quiet.drifted
    assert moved.drifted_metrics == ["language"]


def test_missing_values_are_left_out_and_counted():
    current = mail(50, seed=5)
    current["category_confidence"] = current["category_confidence"].where(current.index >= 10)
    current["vector"] = current["vector"].where(current.index >= 20, None)
    current["oov_share"] = None

    metrics = compare(current, html="always").metrics.set_index("metric")

    assert metrics.loc["category_confidence", "current_rows"] == 40
    assert metrics.loc["embedding", "current_rows"] == 30
    assert "oov_share" not in metrics.index


@pytest.mark.slow
def test_side_without_any_vector_is_compared_by_the_rest():
    current = mail(50, seed=5)

    without = compare(current.assign(vector=None), html="always")
    from_nothing = compare(current, REFERENCE.assign(vector=None), html="always")

    whole = compare(current).metrics
    for report in (without, from_nothing):
        others = whole[whole["metric"] != "embedding"].reset_index(drop=True)
        pd.testing.assert_frame_equal(report.metrics, others)


def test_missing_language_counts_as_a_value_of_its_own_however_it_is_written():
    current = mail(80, seed=5)
    half_missing = current.assign(language=current["language"].where(current.index >= 40, None))
    missing_alike = current.assign(language=np.nan)

    report = compare(half_missing)
    quiet = compare(missing_alike, REFERENCE.assign(language=None))

    assert report.drifted_metrics == ["language"]
    assert report.metrics.set_index("metric").loc["language", "current_rows"] == 80
    assert quiet.drifted_metrics == []


def test_vectors_of_another_encoder_are_refused():
    current = mail(20, seed=5)
    current["vector"] = [vector[:16] for vector in current["vector"]]

    with pytest.raises(DriftError, match=r"different lengths \(\[16, 32\]\): train the classifier"):
        compare(current)


def test_missing_column_and_empty_reference_are_refused():
    with pytest.raises(DriftError, match="current window has no column oov_share, vector"):
        compare(mail(20, seed=5).drop(columns=["oov_share", "vector"]))
    with pytest.raises(DriftError, match="reference is empty"):
        compare(mail(20, seed=5), REFERENCE.iloc[:0])


def test_nothing_is_sent_over_the_network():
    from evidently.telemetry import event_logger

    assert not event_logger.is_enabled()
