import pytest

from ticket_assets.plural import counted


@pytest.mark.parametrize(
    ("count", "words", "text"),
    [
        (0, ("label",), "0 labels"),
        (1, ("label",), "1 label"),
        (2100, ("label",), "2,100 labels"),
        (1, ("category", "categories"), "1 category"),
        (2, ("category", "categories"), "2 categories"),
    ],
)
def test_a_count_agrees_with_its_noun(count, words, text):
    assert counted(count, *words) == text
