"""Distances between samples of the same mail, and the threshold drawn from them."""

import numpy as np
import pandas as pd
import pytest

from ticket_assets.drift.thresholds import RESAMPLES, Chance, largest_shift, new_word_share

CATEGORIES = np.repeat(["network", "printer", "account", "mailbox"], [200, 100, 60, 40])
NUMBERS = np.round(np.random.default_rng(1).lognormal(5, 1, 400))
VECTORS = np.random.default_rng(2).normal(size=(400, 16)).astype(np.float32)
REFERENCES = {"jensenshannon": CATEGORIES, "wasserstein": NUMBERS, "centroid": VECTORS}


def evidently_distance(method, reference, sample):
    from evidently.legacy.calculations.stattests import get_stattest
    from evidently.legacy.core import ColumnType
    from evidently.legacy.metrics.data_drift.embedding_drift_methods import DistanceDriftMethod

    if method == "centroid":
        return DistanceDriftMethod()(pd.DataFrame(sample), pd.DataFrame(reference))[0]
    kind = ColumnType.Categorical if method == "jensenshannon" else ColumnType.Numerical
    sides = pd.Series(reference), pd.Series(sample)
    return get_stattest(*sides, kind, method)(*sides, kind, threshold=None).drift_score


@pytest.mark.parametrize("method", REFERENCES)
def test_chance_distances_are_those_evidently_measures_on_the_same_samples(method):
    reference = REFERENCES[method]
    # 50 current rows against 400 reference rows scatter like 44 against a fixed reference.
    drawn = np.random.default_rng(7).integers(400, size=(RESAMPLES, 44))

    distances = Chance(reference, method, seed=7).distances(50)

    expected = [evidently_distance(method, reference, reference[rows]) for rows in drawn[:20]]
    assert distances.shape == (RESAMPLES,)
    np.testing.assert_allclose(distances[:20], expected, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("method", REFERENCES)
def test_larger_windows_have_smaller_thresholds(method):
    chance = Chance(REFERENCES[method], method, seed=7)

    thresholds = [chance.threshold(size) for size in (3, 20, 100, 1000)]

    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] > 2 * thresholds[-1] > 0.002


@pytest.mark.slow
@pytest.mark.parametrize("method", REFERENCES)
def test_about_one_sample_in_a_thousand_exceeds_its_threshold(method):
    reference = REFERENCES[method]

    threshold = Chance(reference, method, seed=7).threshold(30)

    fresh = np.concatenate([Chance(reference, method, seed=s).distances(30) for s in (8, 9, 10)])
    assert 0.0002 < (fresh > threshold).mean() < 0.003


@pytest.mark.parametrize("method", REFERENCES)
def test_a_window_that_is_looked_at_seven_times_as_often_has_a_rarer_threshold(method):
    chance = Chance(REFERENCES[method], method, seed=7)

    threshold = chance.threshold(30, looks=7)

    fresh = np.concatenate(
        [Chance(REFERENCES[method], method, seed=s).distances(30) for s in range(8, 18)]
    )
    assert chance.threshold(30) < threshold < 1.3 * chance.threshold(30)
    assert (fresh > threshold).mean() < 0.001


def test_threshold_depends_on_content_seed_and_size_bucket_alone():
    def other(values, size, seed):
        return Chance(values, "wasserstein", seed=seed).threshold(size)

    threshold = other(NUMBERS, 64, 7)

    assert other(NUMBERS.copy(), 64, 7) == threshold
    assert other(NUMBERS, 67, 7) == threshold  # 64 to 67 share a bucket
    assert other(NUMBERS, 68, 7) != threshold
    assert other(NUMBERS, 64, 8) != threshold
    assert other(NUMBERS * 2, 64, 7) == pytest.approx(threshold)  # in standard deviations
    assert other(NUMBERS**2, 64, 7) != pytest.approx(threshold)


@pytest.mark.parametrize(
    ("method", "constant"),
    [
        ("jensenshannon", np.array(["network"] * 50, dtype=object)),
        ("wasserstein", np.full(50, 0.3)),
        ("centroid", np.ones((50, 4), dtype=np.float32)),
    ],
)
def test_samples_of_a_constant_reference_do_not_differ(method, constant):
    assert Chance(constant, method, seed=7).threshold(20) == pytest.approx(0, abs=1e-6)


def test_threshold_of_a_size_is_the_same_whatever_was_asked_before():
    chance = Chance(NUMBERS, "wasserstein", seed=7)

    first = chance.threshold(30)
    chance.threshold(100)

    assert chance.threshold(30) == first == Chance(NUMBERS, "wasserstein", seed=7).threshold(30)


@pytest.mark.slow
def test_one_grown_category_stands_out_by_its_share_more_than_by_all_shares():
    random = np.random.default_rng(3)
    grown = np.array([0.15, *[0.85 / 9] * 9])
    reference = np.repeat(np.arange(10), 200).astype(str)
    samples = random.multinomial(1500, grown, 200) / 1500

    noticed = {}
    for method in ("jensenshannon", "largest_shift"):
        chance = Chance(reference, method, seed=7)
        rows = [np.repeat(np.arange(10), (sample * 1500).astype(int)) for sample in samples]
        values = np.array([str(number) for number in range(10)])
        distances = [_distance(method, reference, values[row]) for row in rows]
        noticed[method] = (np.array(distances) > chance.threshold(1500)).mean()

    assert noticed["largest_shift"] > 0.8
    assert noticed["jensenshannon"] < 0.7


def _distance(method, reference, window):
    before, now = (np.bincount(side.astype(int), minlength=10) for side in (reference, window))
    before, now = before / before.sum(), now / now.sum()
    if method == "jensenshannon":
        return evidently_distance(method, reference, window)
    return float(largest_shift(before, now[None])[0])


def test_words_of_quiet_mail_seldom_reach_the_share_of_a_new_word():
    random = np.random.default_rng(4)
    frequencies = 0.3 / np.arange(1, 3001)
    reached = 0
    for _ in range(60):
        learnt = random.binomial(500, frequencies)
        window = random.binomial(200, frequencies)
        share = window[learnt == 0].max(initial=0) / 200
        reached += share >= new_word_share(3000, 500, 200)

    assert reached == 0
    assert new_word_share(3000, 500, 200) < 0.07
    assert new_word_share(3000, 500, 20) > new_word_share(3000, 500, 200)
