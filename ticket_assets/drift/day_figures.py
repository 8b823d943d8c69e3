"""What a drift report keeps of a day's mail beside its distances: figures and distributions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

UNKNOWN = "unknown"
"""The language or category of a ticket that has none."""
BINS = 20
LABELS = 20
"""Categories that are told apart; the rarer ones count as one."""
RARER = "rarer ones"
_DIGITS = 4


def day_figures(tickets: pd.DataFrame) -> dict[str, dict[str, float]]:
    """Figures of one day's tickets in named groups; of a day without any their number alone.

    `tickets`; `languages` in shares; `characters` of a text; `quality` and `sorting` in shares.
    None of them holds a text, an id or a name.

    Args:
        tickets: language, character_count, text_hash, vector, category_confidence, decision and
            oov_share.
    """
    count = len(tickets)
    figures: dict[str, dict[str, float]] = {"tickets": {"tickets": count}}
    if not count:
        return figures
    lengths = tickets["character_count"].dropna()
    figures |= {
        "languages": _shares(tickets["language"]),
        "characters": {"median": lengths.median(), "90th percentile": lengths.quantile(0.9)},
        "quality": {
            "copies of another text": 1 - tickets["text_hash"].nunique() / count,
            "language unknown": tickets["language"].isna().mean(),
            "without a vector": tickets["vector"].isna().mean(),
            "words unknown to the training": tickets["oov_share"].mean(),
        },
        "sorting": {
            "automatic": (tickets["decision"] == "auto").mean(),
            "confidence": tickets["category_confidence"].mean(),
        },
    }
    return {name: _rounded(group) for name, group in figures.items()}


class Distributions:
    """How the values of some columns are spread, beside those of a reference.

    Numbers are counted in `BINS` equal bins between the reference's first and last percentile,
    beyond which they belong to the outermost.
    """

    def __init__(
        self, reference: pd.DataFrame, categorical: Iterable[str], numerical: Iterable[str]
    ) -> None:
        self._labels = {
            column: reference[column].value_counts().index[: LABELS - 1].tolist()
            for column in categorical
        }
        present = {column: reference[column].dropna() for column in numerical}
        self._edges = {
            column: np.linspace(*values.quantile([0.01, 0.99]), BINS + 1)
            for column, values in present.items()
            if values.nunique() > 1
        }
        self._reference = self._spread(reference)

    def beside(self, current: pd.DataFrame) -> dict[str, dict[str, Any]]:
        """By column the shares of both sides, by category or by the middle of a bin."""
        spread = self._spread(current)
        return {
            column: {
                "reference": _rounded(shares),
                "current": _rounded(spread[column]),
                "numerical": column in self._edges,
            }
            for column, shares in self._reference.items()
        }

    def _spread(self, table: pd.DataFrame) -> dict[str, dict[str, float]]:
        spread = {
            column: _shares(table[column].where(table[column].isin(labels), RARER))
            for column, labels in self._labels.items()
        }
        for column, edges in self._edges.items():
            values = table[column].dropna().clip(edges[0], edges[-1])
            counts, _ = np.histogram(values, edges)
            middles = (edges[:-1] + edges[1:]) / 2
            spread[column] = {
                f"{middle:.4g}": count / max(1, len(values))
                for middle, count in zip(middles, counts.tolist(), strict=True)
            }
        return spread


def _shares(column: pd.Series[Any]) -> dict[str, float]:
    """By value, in its order: tables are read in any order."""
    return dict(column.fillna(UNKNOWN).astype(str).value_counts(normalize=True).sort_index())


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    """Without those that are no number: JSON has none."""
    return {
        name: round(float(figure), _DIGITS)
        for name, figure in figures.items()
        if np.isfinite(figure)
    }
