"""Training tickets as the champion would predict new ones, so that they can be compared too."""

from __future__ import annotations

import pandas as pd

from ticket_assets.classification.training import TrainedClassifier
from ticket_assets.classification.vocabulary import oov_share


def out_of_sample(tickets: pd.DataFrame, champion: TrainedClassifier) -> pd.DataFrame:
    """`tickets` with what a model that is new to them says and does not know.

    A classifier is surer of the tickets it learnt from, and knows all their words, so a quiet day
    among them would differ from the reference. They get the values recorded out of fold.

    Returns:
        category, category_confidence, oov_share, is_learnt, and unknown_words: the words of the
        ticket that no other training text has.

    Args:
        tickets: ticket_id, tokens, category and category_confidence as predicted.
    """
    columns = ["category", "category_confidence", "oov_share"]
    tokens = tickets["tokens"].tolist()
    predicted = tickets.assign(oov_share=oov_share(tokens, champion.vocabulary))
    recorded = champion.training_tickets.set_index("ticket_id")[columns]
    learnt = recorded.reindex(tickets["ticket_id"]).set_axis(tickets.index)
    is_learnt = tickets["ticket_id"].isin(recorded.index)
    # A word that one training text has is unknown to the others.
    least = 1 + is_learnt.to_numpy()
    unknown = [
        tuple(sorted({word for word in text.split() if champion.vocabulary.get(word, 0) < known}))
        for text, known in zip(tokens, least.tolist(), strict=True)
    ]
    return predicted.assign(
        is_learnt=is_learnt,
        unknown_words=pd.Series(unknown, tickets.index, dtype=object),
        **{name: learnt[name].fillna(predicted[name]) for name in columns},
    )
