"""What the choice of a candidate costs, and the generated tickets it is measured on."""

import pytest

from benchmarks.candidates import Choices, choices_table, french_tickets


def test_a_choice_is_compared_with_the_candidate_that_is_best_in_the_mean():
    choices = Choices(
        macro_f1={
            "embeddings": (0.8, 0.9),
            "tfidf": (0.9, 0.9),
            "hybrid": (0.7, 0.7),
            "average": (0.6, 0.6),
        },
        by_wording=("tfidf", "tfidf"),
        by_template=("embeddings", "hybrid"),
    )

    assert choices.shortfall(choices.by_wording) == 0
    assert choices.shortfall(choices.by_template) == pytest.approx(0.15)
    assert choices_table({"desk": choices}).splitlines()[2] == (
        "| desk | 0.850 | 0.900 | 0.700 | 0.600 | tfidf 2 | 0.000 "
        "| embeddings 1, hybrid 1 | 0.150 |"
    )


def test_generated_tickets_are_of_eight_sentences_a_category():
    tickets, sentences = french_tickets(400)

    assert tickets.assign(sentence=sentences).groupby("category")["sentence"].nunique().eq(8).all()
    assert tickets["category"].nunique() == 8
