"""The benchmark's quick verdicts are those of the drift report."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from benchmarks.drift import Judge
from ticket_assets.drift.report import Comparison
from ticket_assets.settings import DRIFT_DISTANCES


def mail(rows, seed, shift=0.0):
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "ticket_id": [f"{seed}-{row:05}" for row in range(rows)],
            "language": np.where(random.random(rows) < 0.3 + shift, "en", "fr"),
            "character_count": random.integers(50, 500, rows) + int(400 * shift),
            "category": random.choice(["network", "printing", "access"], rows),
            "category_confidence": random.beta(6, 2, rows),
            "oov_share": random.beta(1, 9, rows),
            "vector": list(random.normal(shift, 1, (rows, 8)).astype(np.float32)),
            "text_hash": [f"{seed}-{row}" for row in range(rows)],
            "unknown_words": [
                ("orvanto",) if row % 9 == 0 and shift else () for row in range(rows)
            ],
        }
    )


@pytest.mark.parametrize("shift", [0.0, 0.15, 0.3])
def test_a_window_is_judged_as_the_report_judges_it(shift):
    reference = mail(400, 1).assign(folds=10)
    comparison = Comparison(
        reference, model_version="m1", floors=DRIFT_DISTANCES, seed=7, vocabulary_words=2000
    )
    pool = mail(300, 2, shift)
    rows = np.arange(50, 250)

    report = comparison.report(pool.iloc[rows], day=date(2026, 3, 4), html="never")

    assert Judge(comparison, 2000, pool).drifted(rows, window_days=1) == report.drifted_metrics
    assert report.drifted == (shift > 0)
