"""What the ticket encoder is learnt from, and that it is learnt."""

from __future__ import annotations

import math
import random
import re
from itertools import combinations

import pytest

from benchmarks.desks import FOLDER
from training.ticket_encoder import DESKS, Step, desks, loss_of, steps


def test_no_mail_of_a_measured_desk_is_learnt() -> None:
    learnt = {text for mails in desks(DESKS) for text in mails["text"]}
    measured = {text for mails in desks(FOLDER) for text in mails["text"]}

    assert len(learnt) > 5_000
    assert len(measured) > 900
    assert not learnt & measured


def test_each_desk_has_ten_categories_of_four_intents_in_different_words() -> None:
    for mails in [*desks(DESKS), *desks(FOLDER)]:
        assert mails["category"].nunique() == 10
        assert mails["intent"].nunique() == 40
        assert mails["text"].is_unique
        assert (mails["text"] != "").all()


def test_a_step_is_of_some_mails_of_each_of_some_intents_of_one_desk() -> None:
    random.seed(3)
    tables = desks(FOLDER)
    texts = [set(mails["text"]) for mails in tables]

    for step in steps(tables, 20):
        assert len(step.texts) == len(set(step.texts)) == 48
        assert sorted(map(step.intents.count, set(step.intents))) == [3] * 16
        assert sum(set(step.texts) <= of_desk for of_desk in texts) == 1
        assert all(
            intent.startswith(f"{category}: ")
            for intent, category in zip(step.intents, step.categories, strict=True)
        )


def test_the_loss_is_that_of_each_mails_neighbours() -> None:
    torch = pytest.importorskip("torch")
    # Given two mails of one intent, a third of the same category and a fourth of another
    step = Step(["a", "b", "c", "d"], ["x", "x", "y", "z"], ["1", "1", "1", "2"])
    vectors = torch.nn.functional.normalize(
        torch.tensor([[1.0, 0.0], [1.0, 0.5], [0.0, 1.0], [-1.0, 1.0]]), dim=1
    )
    similar = {
        pair: math.exp(float(vectors[pair[0]] @ vectors[pair[1]]) / 0.07)
        for left, right in combinations(range(4), 2)
        for pair in ((left, right), (right, left))
    }

    def likelihood(of: int, neighbour: int) -> float:
        others = [other for other in range(4) if other != of]
        return math.log(similar[of, neighbour] / sum(similar[of, other] for other in others))

    with_others = [
        (likelihood(0, 1) + 0.25 * likelihood(0, 2)) / 1.25,
        (likelihood(1, 0) + 0.25 * likelihood(1, 2)) / 1.25,
        (0.25 * likelihood(2, 0) + 0.25 * likelihood(2, 1)) / 0.5,
    ]

    assert float(loss_of(vectors, step)) == pytest.approx(-sum(with_others) / 3, rel=1e-4)


@pytest.mark.slow
def test_mails_of_one_intent_are_drawn_together(capsys: pytest.CaptureFixture[str]) -> None:
    from training import ticket_encoder

    (mails, *_) = desks(FOLDER)
    few = mails[mails["category"].isin(sorted(set(mails["category"]))[:2])]

    adapters = ticket_encoder.learn([few], 41)

    first, _, last = map(float, re.findall(r"loss ([\d.]+)", capsys.readouterr().out))
    assert last < first - 0.3
    assert len(adapters) == 12 * 6
