"""What a drift report keeps of a day's mail beside its distances: figures and distributions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
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
    if not count:
        return {"tickets": {"tickets": 0}}
    languages = _shares(tickets["language"].tolist())
    lengths = _present(tickets["character_count"])
    median, longest = np.quantile(lengths, [0.5, 0.9]) if len(lengths) else (np.nan, np.nan)
    figures: dict[str, dict[str, Any]] = {
        "tickets": {"tickets": count},
        "languages": languages,
        "characters": {"median": median, "90th percentile": longest},
        "quality": {
            "copies of another text": 1 - len(set(tickets["text_hash"])) / count,
            "language unknown": languages.get(UNKNOWN, 0),
            "without a vector": sum(vector is None for vector in tickets["vector"]) / count,
            "words unknown to the training": np.mean(tickets["oov_share"].to_numpy()),
        },
        "sorting": {
            "automatic": tickets["decision"].tolist().count("auto") / count,
            "confidence": np.mean(tickets["category_confidence"].to_numpy()),
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
            column: {label for label, _ in Counter(reference[column]).most_common(LABELS - 1)}
            for column in categorical
        }
        present = {column: _present(reference[column]) for column in numerical}
        self._edges = {
            column: np.linspace(np.quantile(values, 0.01), np.quantile(values, 0.99), BINS + 1)
            for column, values in present.items()
            if len(values) and values.min() < values.max()
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
            column: _shares(label if label in labels else RARER for label in table[column].tolist())
            for column, labels in self._labels.items()
        }
        for column, edges in self._edges.items():
            values = np.clip(_present(table[column]), edges[0], edges[-1])
            counts, _ = np.histogram(values, edges)
            middles = (edges[:-1] + edges[1:]) / 2
            spread[column] = {
                f"{middle:.4g}": count / max(1, len(values))
                for middle, count in zip(middles.tolist(), counts.tolist(), strict=True)
            }
        return spread


def _present(column: pd.Series[Any]) -> npt.NDArray[np.float64]:
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.asarray(values[~np.isnan(values)])


# Not by pandas: on a day's tickets it takes several milliseconds a column.
def _shares(values: Iterable[Any]) -> dict[str, float]:
    """By value, in its order: tables are read in any order."""
    counts = Counter(UNKNOWN if pd.isna(value) else str(value) for value in values)
    return {value: count / counts.total() for value, count in sorted(counts.items())}


def _rounded(figures: dict[str, float]) -> dict[str, float]:
    """Without those that are no number: JSON has none."""
    return {
        name: round(float(figure), _DIGITS)
        for name, figure in figures.items()
        if np.isfinite(figure)
    }
