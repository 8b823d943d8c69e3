from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from ticket_assets.classification.calibration import ALWAYS_REVIEW
from ticket_assets.classification.sorting import review_reasons
from ticket_assets.classification.training import TrainedClassifier


def test_why_a_person_has_to_look_at_a_ticket(trained: TrainedClassifier):
    category = trained.classifier.targets["category"]
    thresholds = np.where(np.array(category.labels) == "printing", ALWAYS_REVIEW, 0.9)
    classifier = replace(
        trained.classifier, targets={"category": replace(category, thresholds=thresholds)}
    )
    rows = {
        "sure": ("network", "auto", None),
        "unsure": ("network", "review", None),
        "rare": ("printing", "review", None),
        "sure but unlike": ("network", "review", "unlike_learnt"),
        "rare and unlike": ("printing", "review", "unknown_words"),
    }
    tickets = pd.DataFrame.from_dict(
        rows, orient="index", columns=["category", "decision", "unfamiliar"]
    )

    reasons = review_reasons(tickets, classifier, tickets["unfamiliar"])

    assert reasons.to_dict() == {
        "sure": None,
        "unsure": "unsure",
        "rare": "always_reviewed",
        "sure but unlike": "unlike_learnt",
        "rare and unlike": "unknown_words",
    }
