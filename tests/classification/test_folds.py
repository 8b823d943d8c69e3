import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticket_assets.classification.folds import steady_folds


def desk(rows, labels=4, seed=0):
    """Codes, groups of a label each, and names of so many rows."""
    random = np.random.default_rng(seed)
    groups = np.unique(random.integers(0, rows // 3, rows), return_inverse=True)[1]
    return groups % labels, groups, [f"wording {group}" for group in groups]


def test_one_more_row_at_the_start_of_the_table_moves_next_to_none():
    # Given 900 rows, and one in a new wording before them
    codes, groups, names = desk(900)
    before = steady_folds(codes, groups, names, 10)
    codes, groups = np.append(0, codes), np.append(0, groups + 1)

    after = steady_folds(codes, groups, ["another", *names], 10)

    # Dealt in the order of the table, nine of ten rows would be in another fold.
    assert (after[1:] != before).mean() < 0.02


def test_the_order_of_the_table_says_nothing():
    codes, groups, names = desk(300)
    order = np.random.default_rng(1).permutation(300)

    shuffled = steady_folds(codes[order], groups[order], [names[row] for row in order], 5)

    assert shuffled.tolist() == steady_folds(codes, groups, names, 5)[order].tolist()


@pytest.mark.parametrize("count", [2, 5, 10])
def test_ten_wordings_of_a_label_are_spread(count):
    groups = np.arange(10)

    folds = steady_folds(np.zeros(10, dtype=int), groups, [f"{row} words" for row in groups], count)

    assert np.bincount(folds, minlength=count).max() <= np.ceil(1.25 * 10 / count)


@given(st.integers(12, 120), st.integers(2, 10), st.integers(0, 2**32 - 1))
def test_groups_are_never_split_and_no_label_is_in_one_fold_alone(rows, count, seed):
    codes, groups, names = desk(rows, labels=2, seed=seed)

    folds = steady_folds(codes, groups, names, count)

    assert all(len(set(folds[groups == group])) == 1 for group in set(groups))
    for label in set(codes):
        one_group = len(set(groups[codes == label])) == 1
        assert one_group or len(set(folds[codes == label])) > 1
