"""The former rule breaks its promise on simulated labels, the present one keeps it."""

import numpy as np
import pytest

from benchmarks.thresholds import LABELS, RULES, Realised, fitted, realised_lines, simulated


@pytest.mark.slow
def test_labels_just_below_the_target_break_the_former_promise_alone():
    kept = simulated(tickets=3_000, draws=40)

    # At most 10 %, and two standard errors of 40 draws.
    assert all(kept[name]["present"].violations <= 0.2 for name in LABELS)
    for name in ("94.5 % right, sure or not", "94.5 % right, each wording five times"):
        assert kept[name]["former"].violations > 0.2
    assert kept["calibrated, sure"]["present"].coverage > 0.9


@pytest.mark.slow
def test_models_are_judged_by_the_true_chances_of_fresh_points():
    kept = fitted(tickets=1_000, draws=5)

    assert set(kept) == {"out of fold", "a fifth put aside"}
    assert all(value.violations <= 0.4 for value in kept.values())
    assert kept["out of fold"].coverage > kept["a fifth put aside"].coverage


def test_the_least_sure_tenth_and_the_share_of_the_former_rule_are_shown():
    # Given 20 automatic tickets of which the least sure is wrong, and 25 of the former rule
    present = Realised(50, np.linspace(0.7, 0.9, 20), np.arange(20) > 0)
    former = Realised(50, np.linspace(0.6, 0.9, 25), np.arange(25) > 0)

    share, right, tenth = realised_lines(
        "table", {"category": dict(zip(RULES, [[present], [former]], strict=True))}
    )

    assert (share.value, share.peer, share.ratio, share.met) == ("40.0%", "50.0%", 0.8, False)
    assert (right.value, right.peer, right.met) == ("95.0% (95.0%)", "96.0% (96.0%)", True)
    assert (tenth.value, tenth.peer, tenth.met) == ("50.0% of 2", "66.7% of 3", False)


@pytest.mark.parametrize(("wrong", "met"), [(3, True), (4, False)])
def test_the_worst_split_counts_beside_the_mean(wrong, met):
    # Given a split of 20 automatic tickets beside a flawless one of 80
    splits = [
        Realised(200, np.full(80, 0.9), np.ones(80, dtype=bool)),
        Realised(200, np.full(20, 0.9), np.arange(20) >= wrong),
    ]

    _, right, _ = realised_lines("table", {"category": dict.fromkeys(RULES, splits)})

    assert right.met is met


def test_where_nothing_is_automatic_nothing_is_asked():
    nothing = Realised(50, np.array([]), np.array([], dtype=bool))

    lines = realised_lines("table", {"priority": {name: [nothing] for name in RULES}})

    assert [(line.value, line.met) for line in lines] == [
        ("0.0%", None),
        ("none", None),
        ("none", None),
    ]
