"""How many labelled tickets of a category it takes before any of its tickets can be automatic."""

from __future__ import annotations

import math
from collections.abc import Mapping


def labels_needed(target_precision: float, precision_risk: float) -> int:
    """The least number of labelled tickets that can show the target precision: all are right.

    The least n with target^n <= risk, 45 for 0.95 and 0.1. They have to say it in different ways,
    and the model has to be sure of each without having learnt from it, so more are wanted.
    """
    return math.ceil(math.log(precision_risk) / math.log(target_precision))


def evidence_text(labelled: Mapping[str, int], needed: int) -> str:
    """A sentence on the numbers of labelled tickets by category."""
    enough = sum(count >= needed for count in labelled.values())
    return (
        f"{enough} of {len(labelled)} categories have {needed} labelled tickets or more; with"
        " fewer, no ticket of a category can be automatic."
    )
