"""Notices that a stream of outcomes has become worse than promised, whenever it is looked at.

The e-detector of Shin, Ramdas and Rinaldo (arXiv 2203.03532): of each moment at which the precision
may have fallen, the capital of a bet on errors that began then; their sum is an e-detector of
Shiryaev-Roberts' kind.
"""

from __future__ import annotations

import numpy as np

from ticket_assets.classification.features import Booleans, Floats

ODDS = (2.0, 3.0, 4.0, 6.0)
"""A bet wins most where the odds of an error have become so many times those of the promise: of
0.95, precisions of 0.90, 0.86, 0.83 and 0.76. The mean of several bets needs no guess."""
THRESHOLD = 10_000.0
"""Where the precision is at the target or above it, an alarm comes after at least so many outcomes
in the mean, and within n outcomes with a chance of at most n / 10,000 (Ville's inequality, of the
value and the outcomes still to come). What that gives is measured in docs/desk-loop.md."""

LARGEST = 1e12
"""Where capital stays: far above the threshold, and no sum of it overflows."""


def detector(errors: Booleans, target: float) -> Floats:
    """The value of the e-detector after each outcome, of the shape of `errors`.

    While every outcome is an error with a chance of at most 1 - target, whatever came before, its
    mean after n outcomes is at most n. It starts anew by itself: each outcome adds a bet that
    begins there.

    Args:
        errors: whether each outcome is an error, the oldest first, of shape (..., outcomes):
            several streams at once.
        target: the precision that was promised, above 0 and below 1.
    """
    odds = np.array(ODDS)
    # The likelihood of an error rate with these odds against that of the promised one.
    right = 1 / (target + (1 - target) * odds)
    capital = np.zeros((*errors.shape[:-1], len(odds)))
    values = np.empty(errors.shape)
    for place in range(errors.shape[-1]):
        factor = np.where(errors[..., place, None], right * odds, right)
        capital = np.minimum(factor * (capital + 1), LARGEST)
        values[..., place] = capital.mean(axis=-1)
    return values
