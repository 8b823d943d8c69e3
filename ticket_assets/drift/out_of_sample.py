"""Tickets as the champion sees new ones, so that its own training tickets can be compared too."""

from __future__ import annotations

import pandas as pd

from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.classification.vocabulary import oov_share


def out_of_sample(tickets: pd.DataFrame, champion: TrainedClassifier) -> pd.DataFrame:
    """`tickets` with category, category_confidence and oov_share as if none had been learnt from.

    A classifier is surer of the tickets it learnt from, and knows all their words, so a quiet day
    among them would look unlike the reference. Their values are those recorded out of fold.

    Args:
        tickets: ticket_id, tokens, category and category_confidence as predicted.
    """
    columns = ["category", "category_confidence", "oov_share"]
    fresh = tickets.assign(oov_share=oov_share(tickets["tokens"].tolist(), champion.vocabulary))
    recorded = champion.training_tickets.set_index("ticket_id")[columns]
    learnt = recorded.reindex(tickets["ticket_id"]).set_axis(tickets.index)
    return fresh.assign(**{name: learnt[name].fillna(fresh[name]) for name in columns})
