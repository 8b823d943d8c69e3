"""Compares the tickets of a day with the champion's training reference, with Evidently."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from ticket_assets.drift.thresholds import Array, Chance, Method
from ticket_assets.errors import TicketAssetsError
from ticket_assets.storage.tables import TABLES

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

EMBEDDING = "embedding"
METHODS: dict[str, Method] = {
    "language": "jensenshannon",
    "category": "jensenshannon",
    "character_count": "wasserstein",
    "category_confidence": "wasserstein",
    "oov_share": "wasserstein",
    EMBEDDING: "centroid",
}
CATEGORICAL = [name for name, method in METHODS.items() if method == "jensenshannon"]
NUMERICAL = [name for name, method in METHODS.items() if method == "wasserstein"]
VECTOR = "vector"
INPUT_COLUMNS = ["ticket_id", *CATEGORICAL, *NUMERICAL, VECTOR]
UNKNOWN = "unknown"
SHIFT = "vector_shift"


class DriftError(TicketAssetsError):
    """The reference or the window cannot be compared."""


@dataclass(frozen=True)
class DriftReport:
    """The result of one day's comparison.

    `metrics` has one row per metric, as the table drift_metrics declares. `json` holds the same
    figures and Evidently's own output.
    """

    day: date
    metrics: pd.DataFrame
    json: str
    html: str | None

    @property
    def drifted_metrics(self) -> list[str]:
        return list(self.metrics.loc[self.metrics["drifted"], "metric"])

    @property
    def drifted(self) -> bool:
        """Whether any metric drifted: most shifts move one metric alone."""
        return bool(self.metrics["drifted"].any())


class Comparison:
    """Compares the tickets of days with the training reference, which is prepared once.

    Distances: Jensen-Shannon (natural logarithm) for categories, Wasserstein in standard
    deviations of the reference for numbers, and for vectors the distance of the means in units of
    the reference's root-mean-square distance to its own mean. A metric has drifted at a distance
    of `drift_distance`, or of what same-sized samples of the reference show by chance where that
    is larger. A missing category counts as "unknown"; missing numbers and vectors are left out,
    and a metric without any value on one side has no row.

    Args:
        reference: the columns of `INPUT_COLUMNS`, like the tickets to compare.

    Raises:
        DriftError: the reference is empty or lacks a column.
    """

    def __init__(
        self, reference: pd.DataFrame, *, model_version: str, drift_distance: float, seed: int
    ) -> None:
        _require(reference, "training reference")
        if reference.empty:
            raise DriftError("The training reference is empty: train the classifier again.")
        self._model_version = model_version
        self._drift_distance = drift_distance
        # One thread: the matrices are small, and on a busy machine several threads, which wait for
        # each other, took seven times as long.
        self._threads = ThreadpoolController()
        # Samples are drawn by position, so the order in which a table was read must not matter.
        reference = reference.sort_values("ticket_id")
        vectors = _vectors(reference[VECTOR])
        self._length = vectors.shape[1]
        present = vectors[_is_present(vectors)]
        self._centre = present.mean(axis=0) if len(present) else np.zeros(self._length, np.float32)
        # Evidently, too, takes 0.001 for the spread of a constant column.
        deviations = np.square(present - self._centre).sum(axis=1)
        self._spread = max(0.001, float(np.sqrt(deviations.mean()))) if len(present) else 1.0
        self._reference = self._side(reference, vectors)
        self._chance = {
            metric: Chance(values, method, seed=seed)
            for metric, method in METHODS.items()
            if len(values := self._reference.values(metric))
        }

    def report(
        self,
        current: pd.DataFrame,
        *,
        day: date,
        window_days: int = 1,
        html: Literal["always", "drifted", "never"] = "drifted",
    ) -> DriftReport:
        """The report of `day`, whose window holds the tickets `current`.

        HTML (4 MB) is rendered always, if the day has drifted, or never.

        Raises:
            DriftError: a column is missing, or the vectors have another length than those of the
                reference.
        """
        _require(current, "current window")
        evidently: dict[str, Any] = {"metrics": [], "tests": []}
        page = None
        with self._threads.limit(limits=1):
            side = self._current_side(current)
            rows = self._sizes_and_thresholds(side)
            if rows:
                sides = _along_the_shift(self._reference, side)
                evidently = json.loads(_run_evidently(*sides, rows).json())
                # The verdict is Evidently's own: the table cannot contradict its report.
                results = zip(rows, evidently["metrics"], evidently["tests"], strict=True)
                for row, result, test in results:
                    row |= {"distance": result["value"], "drifted": test["status"] == "FAIL"}
                drifted = any(row["drifted"] for row in rows)
                if html == "always" or (html == "drifted" and drifted):
                    page = _run_evidently(*sides, rows, drawn=True).get_html_str(as_iframe=False)
        shared = {"window_days": window_days, "model_version": self._model_version}
        columns = {"received_at": pd.Timestamp(day)} | shared
        metrics = TABLES["drift_metrics"].frame([row | columns for row in rows])
        document = {"day": day.isoformat()} | shared | {"metrics": rows, "evidently": evidently}
        return DriftReport(day, metrics, json.dumps(document), page)

    def _current_side(self, current: pd.DataFrame) -> _Side:
        current = current.sort_values("ticket_id")
        # A reference without vectors, of length 0, leaves nothing to compare.
        return self._side(current, _vectors(current[VECTOR], self._length)[:, : self._length])

    def _side(self, tickets: pd.DataFrame, vectors: Array) -> _Side:
        """Centres the vectors on the reference and divides them by its spread, so that one smallest
        distance suits every encoder."""
        # Column by column in memory, which makes the sums over a dimension more precise.
        return _Side(tickets, np.asfortranarray((vectors - self._centre) / self._spread))

    def _sizes_and_thresholds(self, current: _Side) -> list[dict[str, Any]]:
        """One row per metric that has values on both sides."""
        sizes = {metric: len(current.values(metric)) for metric in self._chance}
        return [
            {
                "metric": metric,
                "method": METHODS[metric],
                "threshold": max(self._drift_distance, chance.threshold(sizes[metric])),
                "reference_rows": chance.rows,
                "current_rows": sizes[metric],
            }
            for metric, chance in self._chance.items()
            if sizes[metric]
        ]


class _Side:
    """One side of a comparison: a table of the tickets with all columns, and their vectors."""

    def __init__(self, tickets: pd.DataFrame, vectors: Array) -> None:
        categories = tickets[CATEGORICAL].astype(object).fillna(UNKNOWN).astype(str)
        numbers = tickets[NUMERICAL].apply(pd.to_numeric, errors="coerce").astype("float64")
        numbers = numbers.replace([np.inf, -np.inf], np.nan)
        self.table = pd.concat([categories, numbers], axis=1).reset_index(drop=True)
        self.table[VECTOR] = pd.Series(list(vectors), dtype=object).where(_is_present(vectors))
        self.vectors = vectors

    @cached_property
    def centre(self) -> Array:
        """The mean vector; zeros without any."""
        vectors = np.asfortranarray(self.values(EMBEDDING))
        return np.asarray(vectors.mean(axis=0)) if len(vectors) else np.zeros(vectors.shape[1])

    def values(self, metric: str) -> Array:
        """The values of a metric that are not missing."""
        if metric == EMBEDDING:
            return self.vectors[_is_present(self.vectors)]
        return np.asarray(self.table[metric].dropna())


def _require(tickets: pd.DataFrame, side: str) -> None:
    missing = [column for column in INPUT_COLUMNS if column not in tickets]
    if missing:
        raise DriftError(
            f"The {side} has no column {', '.join(missing)}; drift compares "
            f"{', '.join(INPUT_COLUMNS)}."
        )


def _vectors(column: pd.Series[Any], length: int = 0) -> Array:
    """The vectors, shape (rows, length), float32; a missing one is a row of NaN.

    Raises:
        DriftError: they differ in length, or from `length` where that is known.
    """
    lengths = {len(vector) for vector in column if vector is not None} | ({length} - {0})
    if len(lengths) > 1:
        raise DriftError(
            f"The vectors to compare have different lengths ({sorted(lengths)}): train the "
            "classifier again with the present encoder."
        )
    length = max(lengths, default=0)
    missing = np.full(length, np.nan, dtype=np.float32)
    rows = [missing if vector is None else vector for vector in column]
    return np.array(rows, dtype=np.float32).reshape(len(rows), length)


def _is_present(vectors: Array) -> Array:
    """Per row whether it is a vector: of some length, and not missing."""
    return np.asarray((vectors.shape[1] > 0) & ~np.isnan(vectors).any(axis=1))


def _along_the_shift(reference: _Side, current: _Side) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Both tables with the vectors projected on the line through the two means.

    The means lie as far apart on that line as in the whole space, and Evidently gets one column
    instead of one for each dimension.
    """
    shift = current.centre - reference.centre
    shift /= np.linalg.norm(shift) or 1.0
    tables = [
        side.table.assign(**{SHIFT: (side.vectors @ shift).astype(np.float64)})
        for side in (reference, current)
    ]
    return tables[0], tables[1]


def _run_evidently(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    rows: list[dict[str, Any]],
    *,
    drawn: bool = False,
) -> Snapshot:
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift
    from evidently.tests import lt

    from ticket_assets.drift.evidently_metrics import CentroidDrift, ColumnDrift

    # Every kind of column is named: Evidently guesses those that are not.
    definition = DataDefinition(
        categorical_columns=CATEGORICAL,
        numerical_columns=NUMERICAL,
        text_columns=[],
        datetime_columns=[],
        list_columns=[],
        unknown_columns=[VECTOR],
        embeddings={EMBEDDING: [SHIFT]},
    )
    metrics: list[Any] = []
    for row in rows:
        metric, method, threshold = row["metric"], row["method"], row["threshold"]
        verdict = [lt(threshold)]
        if metric == EMBEDDING:
            drawn_column = VECTOR if drawn else None
            metrics.append(
                CentroidDrift(embedding=metric, drawn_column=drawn_column, tests=verdict)
            )
        elif drawn:
            metrics.append(ValueDrift(column=metric, method=method, threshold=threshold))
        else:
            metrics.append(ColumnDrift(column=metric, method=method, tests=verdict))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        # Correlations and standard deviations of a window of one row.
        warnings.simplefilter("ignore")
        return Report(metrics, include_tests=True).run(
            Dataset.from_pandas(current, definition), Dataset.from_pandas(reference, definition)
        )
