"""The table of desks that no encoder has learnt."""

from benchmarks.candidates import Choices
from benchmarks.desks import desk_lines


def choices(vectors: float, both: float) -> Choices:
    """The first split by vectors, the second by both; each scores the same on all splits."""
    macro_f1 = {"embeddings": (vectors, vectors), "hybrid": (both, both)}
    return Choices(macro_f1, by_wording=("embeddings", "hybrid"), by_template=("hybrid", "hybrid"))


def test_desks_and_their_mean_are_what_the_chosen_candidates_reach():
    here = {"one": choices(0.6, 0.8), "two_desks": choices(0.4, 0.6)}
    e5 = {"one": choices(0.5, 0.5), "two_desks": choices(0.6, 0.8)}

    one, two, mean = desk_lines(here, e5)

    assert (one.value, one.peer, one.met) == ("0.700", "0.500", None)
    assert two.figure == "two desks: macro-F1 of the category"
    assert (two.value, two.peer, two.met) == ("0.500", "0.700", None)
    assert (mean.value, mean.peer, mean.wanted, mean.met) == ("0.600", "0.600", "> 1", False)
