from types import SimpleNamespace

import pandas as pd

from ticket_assets.drift.out_of_sample import out_of_sample


def test_a_ticket_that_was_learnt_from_shows_what_was_recorded_out_of_fold():
    champion = SimpleNamespace(
        vocabulary={"imprimante": 3, "bloquée": 1},
        training_tickets=pd.DataFrame(
            {
                "ticket_id": ["learnt"],
                "text_group": ["g"],
                "category": ["network"],
                "category_confidence": [0.41],
                "oov_share": [0.5],
            }
        ),
    )
    tickets = pd.DataFrame(
        {
            "ticket_id": ["new", "learnt"],
            "tokens": ["imprimante orbia", "imprimante bloquée"],
            "category": ["printing", "printing"],
            "category_confidence": [0.7, 0.99],
        },
        index=[7, 3],
    )

    compared = out_of_sample(tickets, champion)

    assert compared["category"].to_list() == ["printing", "network"]
    assert compared["category_confidence"].to_list() == [0.7, 0.41]
    assert compared["oov_share"].to_list() == [0.5, 0.5]
    assert compared["is_learnt"].to_list() == [False, True]
    # The only training text with a word does not know it from the others.
    assert compared["unknown_words"].to_list() == [("orbia",), ("bloquée",)]
    assert compared.index.to_list() == [7, 3]
