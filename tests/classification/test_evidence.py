import pytest

from ticket_assets.classification.calibration import predictions_needed
from ticket_assets.classification.evidence import evidence_text, labels_needed


@pytest.mark.parametrize(
    ("target", "risk", "needed"),
    [(0.95, 0.1, 45), (0.95, 0.05, 59), (0.9, 0.1, 22), (0.99, 0.1, 230)],
)
def test_labels_needed_are_the_predictions_that_show_the_target_without_an_error(
    target, risk, needed
):
    assert labels_needed(target, risk) == needed == predictions_needed(0, target, risk)


def test_categories_with_enough_labels_are_counted():
    assert evidence_text({"access": 45, "network": 44, "email": 0}, 45) == (
        "1 of 3 categories have 45 labelled tickets or more; with fewer, no ticket of a category"
        " can be automatic."
    )
