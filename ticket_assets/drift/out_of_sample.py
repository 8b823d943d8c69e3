"""Training tickets as the champion would predict new ones, so that they can be compared too."""

from __future__ import annotations

import pandas as pd

from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.classification.vocabulary import oov_share


def out_of_sample(tickets: pd.DataFrame, champion: TrainedClassifier) -> pd.DataFrame:
    """`tickets` with category, category_confidence and oov_share of a model that is new to them.

    A classifier is surer of the tickets it learnt from, and knows all their words, so a quiet day
    among them would differ from the reference. They get the values recorded out of fold.

    Args:
        tickets: ticket_id, tokens, category and category_confidence as predicted.
    """
    columns = ["category", "category_confidence", "oov_share"]
    predicted = tickets.assign(oov_share=oov_share(tickets["tokens"].tolist(), champion.vocabulary))
    recorded = champion.training_tickets.set_index("ticket_id")[columns]
    learnt = recorded.reindex(tickets["ticket_id"]).set_axis(tickets.index)
    return predicted.assign(**{name: learnt[name].fillna(predicted[name]) for name in columns})
