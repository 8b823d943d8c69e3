"""Labels in doubt: a model that has not learnt from the ticket confidently predicts another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ticket_assets.classification.features import Floats, Integers


def suspected_label_errors(
    target: str,
    labels: Sequence[str],
    probability: Floats,
    codes: Integers,
    ticket_ids: Sequence[str],
) -> pd.DataFrame:
    """The tickets whose label is suspected, most confident first: ticket_id, target, given,
    predicted, confidence and rank, as the table suspected_label_errors describes them.

    A label is suspected when the ticket is predicted to be of another class, at least as
    confidently as the tickets of that class are on average: Northcutt, Jiang and Chuang, Confident
    Learning: Estimating Uncertainty in Dataset Labels (2021), section 3.1.

    Args:
        probability: out of fold, shape (tickets, labels): a model that has learnt a label repeats
            it, right or wrong.
        codes: the given labels, as positions in `labels`.
    """
    self_confidence = np.array(
        [
            probability[codes == code, code].mean() if (codes == code).any() else np.inf
            for code in range(len(labels))
        ]
    )
    predicted = probability.argmax(axis=1)
    confidence = probability[np.arange(len(codes)), predicted]
    suspected = np.flatnonzero((predicted != codes) & (confidence >= self_confidence[predicted]))
    names = np.array(labels, dtype=object)
    doubts = pd.DataFrame(
        {
            "ticket_id": pd.Series([ticket_ids[row] for row in suspected.tolist()], dtype=object),
            "target": target,
            "given": names[codes[suspected]],
            "predicted": names[predicted[suspected]],
            "confidence": confidence[suspected],
        }
    ).sort_values(["confidence", "ticket_id"], ascending=[False, True], ignore_index=True)
    return doubts.assign(rank=np.arange(1, len(doubts) + 1, dtype=np.int64))
