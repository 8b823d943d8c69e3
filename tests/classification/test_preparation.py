"""What stays on one side of every split."""

import numpy as np

from ticket_assets.classification.preparation import split_groups


def test_a_wording_is_one_group_and_one_that_is_a_whole_label_is_its_templates():
    #                     access      network    printing  none
    wordings = np.array([0, 0, 1, 1, 2, 3, 3, 4, 4, 4, 5])
    templates = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 8, 9])
    category = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2, -1])

    groups = split_groups(wordings, templates, [category])

    sides = [set(np.flatnonzero(groups == group).tolist()) for group in np.unique(groups)]
    assert sorted(sides, key=min) == [{0, 1}, {2, 3}, {4}, {5, 6}, {7}, {8, 9}, {10}]


def test_a_wording_of_more_than_half_of_the_tickets_is_its_templates():
    groups = split_groups(
        np.array([0, 0, 0, 0, 1, 2]), np.arange(6), [np.array([0, 0, 1, 1, 0, 1])]
    )

    assert len(np.unique(groups)) == 6
