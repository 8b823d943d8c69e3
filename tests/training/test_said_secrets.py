"""The weights in the package are those that its examples give."""

from __future__ import annotations

import pytest

from ticket_assets.text.said_secrets import WEIGHTS
from training.said_secrets import weights


@pytest.mark.slow
def test_learning_anew_gives_the_weights_of_the_package() -> None:
    lines = (line.split("\t") for line in WEIGHTS.read_text("utf-8").rstrip("\n").split("\n"))
    kept = {(template, tuple(values)): float(weight) for template, *values, weight in lines}

    learnt = weights()

    # Another processor adds in another order: what is near the least weight may come or go.
    for feature in kept.keys() | learnt.keys():
        assert kept.get(feature, 0.1 if learnt.get(feature, 0) > 0 else -0.1) == pytest.approx(
            learnt.get(feature, 0.1 if kept.get(feature, 0) > 0 else -0.1), abs=0.02
        )
