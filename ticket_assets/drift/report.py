"""Compares the tickets of a day with the champion's training reference, with Evidently."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from ticket_assets.drift.thresholds import Array, Method, chance_threshold
from ticket_assets.errors import TicketAssetsError

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
INPUT_COLUMNS = ["ticket_id", *CATEGORICAL, *NUMERICAL, "vector"]
METRICS_DTYPES = {
    "received_at": "datetime64[us]",
    "metric": "object",
    "method": "object",
    "distance": "float64",
    "threshold": "float64",
    "drifted": "bool",
    "reference_rows": "int64",
    "current_rows": "int64",
    "window_days": "int64",
    "model_version": "object",
}
UNKNOWN = "unknown"
SHIFT = "vector_shift"


class DriftError(TicketAssetsError):
    """The reference or the window cannot be compared."""


@dataclass(frozen=True)
class DriftReport:
    """What one day's comparison found.

    `metrics` has one row per metric and the columns of `METRICS_DTYPES`; `received_at` is the day
    at 00:00 UTC, `reference_rows` and `current_rows` count the values that were compared. `json`
    holds the same figures and Evidently's own output.
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
        """Whether any metric drifted: most shifts show in one metric alone."""
        return bool(self.metrics["drifted"].any())


# One thread: the matrices are small, and threads that wait for each other on a busy machine took
# seven times as long.
@threadpool_limits.wrap(limits=1)  # type: ignore[untyped-decorator]
def drift_report(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    day: date,
    model_version: str,
    drift_distance: float,
    seed: int,
    window_days: int = 1,
    with_html: bool = False,
) -> DriftReport:
    """Compares `current` with `reference`; both hold the columns of `INPUT_COLUMNS`.

    Distances: Jensen-Shannon (natural logarithm) for categories, Wasserstein in standard
    deviations of the reference for numbers, and for vectors the distance of the means in units of
    the reference's root-mean-square distance to its own mean. A metric has drifted at a distance
    of `drift_distance`, or of what same-sized samples of the reference show by chance where that
    is larger. A missing category counts as "unknown"; missing numbers and vectors are left out,
    and a metric without any value on one side has no row. HTML (4 MB) is rendered when asked for
    or when the day has drifted.

    Raises:
        DriftError: the reference is empty, a column is missing, or the vectors of the two sides
            have different lengths.
    """
    _require(reference, current)
    # Samples are drawn by position: the order in which a table was read must not matter.
    reference, current = reference.sort_values("ticket_id"), current.sort_values("ticket_id")
    rows: list[dict[str, Any]] = []
    evidently: dict[str, Any] = {"metrics": [], "tests": []}
    html = None
    if len(current):
        reference, current, vector_columns = _comparable(reference, current)
        rows = _comparisons(reference, current, vector_columns, drift_distance, seed)
    if rows:
        snapshot = _run_evidently(*_along_the_shift(reference, current, vector_columns), rows)
        evidently = json.loads(snapshot.json())
        # The verdict is Evidently's own, so that the table cannot contradict its report.
        for row, result, test in zip(rows, evidently["metrics"], evidently["tests"], strict=True):
            row |= {"distance": result["value"], "drifted": test["status"] == "FAIL"}
        if with_html or any(row["drifted"] for row in rows):
            drawn = _run_evidently(reference, current, vector_columns, rows, drawn=True)
            html = drawn.get_html_str(as_iframe=False)
    shared = {
        "received_at": pd.Timestamp(day),
        "window_days": window_days,
        "model_version": model_version,
    }
    metrics = pd.DataFrame([row | shared for row in rows], columns=list(METRICS_DTYPES))
    document = {
        "day": day.isoformat(),
        "window_days": window_days,
        "model_version": model_version,
        "metrics": rows,
        "evidently": evidently,
    }
    return DriftReport(day, metrics.astype(METRICS_DTYPES), json.dumps(document), html)


def _require(reference: pd.DataFrame, current: pd.DataFrame) -> None:
    for side, tickets in (("training reference", reference), ("current window", current)):
        missing = [column for column in INPUT_COLUMNS if column not in tickets]
        if missing:
            raise DriftError(
                f"The {side} has no column {', '.join(missing)}; drift compares "
                f"{', '.join(INPUT_COLUMNS)}."
            )
    if reference.empty:
        raise DriftError("The training reference is empty: train the classifier again.")


def _comparable(
    reference: pd.DataFrame, current: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Both sides as Evidently takes them, and the names of the columns that hold the vectors.

    Vectors are centred on the reference and divided by its spread, so that one smallest distance
    suits every encoder.
    """
    lengths = {
        len(vector)
        for tickets in (reference, current)
        for vector in tickets["vector"]
        if vector is not None
    }
    if len(lengths) > 1:
        raise DriftError(
            f"The vectors to compare have different lengths ({sorted(lengths)}): train the "
            "classifier again with the present encoder."
        )
    length = max(lengths, default=0)
    vectors = [_vectors(tickets["vector"], length) for tickets in (reference, current)]
    known = vectors[0][~np.isnan(vectors[0]).any(axis=1)]
    if len(known):
        centred = known - known.mean(axis=0)
        # 0.001: what Evidently takes for the spread of a constant column.
        spread = max(0.001, float(np.sqrt((centred**2).sum(axis=1).mean())))
        vectors = [(side - known.mean(axis=0)) / spread for side in vectors]
    names = [f"vector_{index}" for index in range(length)]
    tables = []
    for tickets, side in zip((reference, current), vectors, strict=True):
        categories = tickets[CATEGORICAL].astype(object).fillna(UNKNOWN).astype(str)
        numbers = tickets[NUMERICAL].apply(pd.to_numeric, errors="coerce").astype("float64")
        numbers = numbers.replace([np.inf, -np.inf], np.nan)
        table = pd.concat([categories, numbers], axis=1).reset_index(drop=True)
        tables.append(table.join(pd.DataFrame(side, columns=names)))
    return tables[0], tables[1], names


def _along_the_shift(
    reference: pd.DataFrame, current: pd.DataFrame, vector_columns: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Both sides with their vectors' places on the line through the two means as only column.

    The means lie as far apart on that line as in the whole space, and Evidently, which takes
    statistics of every column, is done in a tenth of the time.
    """
    sides = [side[vector_columns].to_numpy() for side in (reference, current)]
    if not vector_columns or any(np.isnan(side).all() for side in sides):
        return reference, current, vector_columns
    shift = np.nanmean(sides[1], axis=0) - np.nanmean(sides[0], axis=0)
    shift /= np.linalg.norm(shift) or 1.0
    places = [
        pd.DataFrame({SHIFT: (side @ shift).astype(np.float64)}, index=table.index)
        for side, table in zip(sides, (reference, current), strict=True)
    ]
    tables = [table.drop(columns=vector_columns) for table in (reference, current)]
    return tables[0].join(places[0]), tables[1].join(places[1]), [SHIFT]


def _vectors(column: pd.Series[Any], length: int) -> Array:
    """The vectors, shape (rows, length), float32; a missing one is a row of NaN."""
    missing = np.full(length, np.nan, dtype=np.float32)
    rows = [missing if vector is None else vector for vector in column]
    return np.array(rows, dtype=np.float32).reshape(len(rows), length)


def _comparisons(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    vector_columns: list[str],
    drift_distance: float,
    seed: int,
) -> list[dict[str, Any]]:
    """One row per metric that has values on both sides: sizes and threshold."""
    rows = []
    for metric, method in METHODS.items():
        columns = vector_columns if metric == EMBEDDING else [metric]
        values = reference[columns].dropna().to_numpy()
        size = len(current[columns].dropna())
        if not values.size or not size:
            continue
        values = values if metric == EMBEDDING else values[:, 0]
        rows.append(
            {
                "metric": metric,
                "method": method,
                "threshold": chance_threshold(
                    values, size, method, floor=drift_distance, seed=seed
                ),
                "reference_rows": len(values),
                "current_rows": size,
            }
        )
    return rows


def _run_evidently(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    vector_columns: list[str],
    rows: list[dict[str, Any]],
    *,
    drawn: bool = False,
) -> Snapshot:
    from evidently import DataDefinition, Dataset, Report
    from evidently.metrics import ValueDrift
    from evidently.tests import lt

    from ticket_assets.drift.evidently_metrics import CentroidDrift, ColumnDrift

    # Every kind of column is named: what is left out would be guessed from the data.
    definition = DataDefinition(
        categorical_columns=CATEGORICAL,
        numerical_columns=NUMERICAL,
        text_columns=[],
        datetime_columns=[],
        list_columns=[],
        unknown_columns=[],
        embeddings={EMBEDDING: vector_columns},
    )
    metrics: list[Any] = []
    for row in rows:
        metric, method, threshold = row["metric"], row["method"], row["threshold"]
        verdict = [lt(threshold)]
        if metric == EMBEDDING:
            metrics.append(CentroidDrift(embedding=metric, drawn=drawn, tests=verdict))
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
