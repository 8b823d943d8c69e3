"""Folds of a cross-validation that hardly change when a label is added."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from ticket_assets.classification.features import Integers

LARGEST_FOLD = 1.25
"""Most tickets of a label in a fold, as a multiple of its even share.

At 1.25 each further hundredth of labels moves 1.6 % of the tickets to another fold, on the sample
mailbox and on German tickets; at 1, the most even, 2.9 and 3.6 %, and without a limit 0.9 and
0.7 %, with half as many tickets again in the largest fold of a label as at 1.
"""


def steady_folds(codes: Integers, groups: Integers, names: Sequence[str], count: int) -> Integers:
    """The fold of each row, 0 … count - 1: labels spread evenly, groups never split.

    A group's name, not its place in the table, tells which folds it prefers. It gets the first one
    that has room for its label. Dealt in the order of the table, one more row deals all anew, and
    with them the out-of-fold errors by which a label passes its test or misses it.

    Source: Mirrokni, Thorup and Zadimoghaddam, Consistent Hashing with Bounded Loads (2018).

    Args:
        codes: the label of each row.
        groups: a number per row, from 0 on without a gap.
        names: what stays the same of each row; its first row's is the name of a group.
        count: at most 28, the numbers that fit in a digest.
    """
    first = np.unique(groups, return_index=True)[1]
    # Two bytes for each fold, and eight for the order in which groups choose.
    digests = [
        hashlib.blake2b(names[row].encode("utf-8"), digest_size=2 * count + 8).digest()
        for row in first
    ]
    sizes = np.zeros((len(first), codes.max(initial=0) + 1), dtype=np.int64)
    np.add.at(sizes, (groups, codes), 1)
    totals = sizes.sum(axis=0)
    # All of a label in one fold would leave nothing to learn it from.
    room = np.minimum(np.ceil(LARGEST_FOLD * totals / count), totals - 1)
    loads = np.zeros((count, sizes.shape[1]), dtype=np.int64)
    folds = np.zeros(len(first), dtype=np.int64)
    for group in sorted(range(len(first)), key=lambda group: digests[group][-8:]):
        preferred = np.frombuffer(digests[group][:-8], dtype="<u2").argsort(kind="stable")
        label = sizes[group].argmax()
        load = loads[preferred, label]
        has_room = load + sizes[group, label] <= room[label]
        fold = preferred[has_room.argmax() if has_room.any() else load.argmin()]
        folds[group] = fold
        loads[fold] += sizes[group]
    return folds[groups]
