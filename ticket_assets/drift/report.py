"""Compares the tickets of a day with the champion's training reference, with Evidently."""

from __future__ import annotations

import html
import json
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from ticket_assets.drift.day_figures import UNKNOWN, Distributions
from ticket_assets.drift.estimated_precision import PrecisionEstimator
from ticket_assets.drift.thresholds import (
    Array,
    Chance,
    Method,
    largest_shift,
    new_word_share,
)
from ticket_assets.drift.window import WEEK_DAYS, looks_at
from ticket_assets.errors import TicketAssetsError
from ticket_assets.storage.tables import TABLES
from ticket_assets.text.characters import visible

if TYPE_CHECKING:
    from evidently.core.report import Snapshot

EMBEDDING = "embedding"
METHODS: dict[str, Method] = {
    "language": "jensenshannon",
    "category": "jensenshannon",
    "category_share": "largest_shift",
    "character_count": "wasserstein",
    "category_confidence": "wasserstein",
    "oov_share": "wasserstein",
    EMBEDDING: "centroid",
}
CATEGORICAL = [name for name, method in METHODS.items() if method == "jensenshannon"]
NUMERICAL = [name for name, method in METHODS.items() if method == "wasserstein"]
CATEGORY_SHARE = "category_share"
NEW_WORD = "new_word"
AUTOMATIC_ERRORS = "automatic_errors"
PRECISION = ("estimated_precision", "estimated_precision_low", "estimated_precision_high")
BY_CATEGORY = "estimated_precision_by_category"
VECTOR = "vector"
INPUT_COLUMNS = ["ticket_id", *CATEGORICAL, *NUMERICAL, VECTOR]
OLD_REFERENCE = (
    "The champion was trained by an earlier release: its reference holds confidences that lie below"
    " those of new mail, so category_confidence may warn without a drift. Train again: tickets run."
)
SHIFT = "vector_shift"


class DriftError(TicketAssetsError):
    """The reference or the window cannot be compared."""


@dataclass(frozen=True)
class DriftReport:
    """The result of one day's comparison.

    `metrics` has one row per window and metric, as the table drift_metrics declares. `json` holds
    the same figures and Evidently's own output. `note` says what is wrong with the reference.
    """

    day: date
    metrics: pd.DataFrame
    json: str
    html: str | None
    note: str = ""
    estimated_precision: Mapping[str, float] = field(default_factory=dict)
    """Precision of the automatic tickets with its interval; empty where it cannot be estimated."""

    @property
    def drifted_metrics(self) -> list[str]:
        """The metrics that drifted, of the day or of its week, each once."""
        return list(self.metrics.loc[self.metrics["drifted"], "metric"].unique())

    @property
    def drifted(self) -> bool:
        """Whether any metric drifted: most shifts move one metric alone."""
        return bool(self.metrics["drifted"].any())


class Comparison:
    """Compares the tickets of days with the training reference, which is prepared once.

    Distances: Jensen-Shannon (natural logarithm) for categories, and the largest change of one
    predicted category's share in standard deviations of one ticket; Wasserstein in standard
    deviations of the reference for numbers; for vectors the distance of the means in units of the
    reference's root-mean-square distance to its own mean; for new words the share of the different
    texts that have the commonest word which the training does not know. A metric has drifted at a
    distance of its `floors`, or of what same-sized samples of the reference show by chance where
    that is larger. A missing category counts as "unknown"; missing numbers and vectors are left
    out, and a metric without any value on one side has no row.

    Args:
        reference: the columns of `INPUT_COLUMNS`, like the tickets to compare, and `folds`.
        floors: per metric the smallest distance that matters.
        vocabulary_words: the number of words that the training knows; 0: new words are not looked
            for, else the tickets to compare have `unknown_words` and `text_hash`.
        estimator: of the precision of automatic tickets, from `decision` and `is_learnt`; it has
            drifted where all of its interval lies below the target.

    Raises:
        DriftError: the reference is empty or lacks a column.
    """

    def __init__(
        self,
        reference: pd.DataFrame,
        *,
        model_version: str,
        floors: Mapping[str, float],
        seed: int,
        vocabulary_words: int = 0,
        estimator: PrecisionEstimator | None = None,
    ) -> None:
        _require(reference, "training reference")
        if reference.empty:
            raise DriftError("The training reference is empty: train the classifier again.")
        self._model_version = model_version
        self._floors = floors
        self._vocabulary_words = vocabulary_words
        self._estimator = estimator
        self._note = "" if "folds" in reference else OLD_REFERENCE
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
        self._distributions = Distributions(self._reference.table, CATEGORICAL, NUMERICAL)
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
        week: pd.DataFrame | None = None,
        figures: Mapping[str, Mapping[str, float]] | None = None,
        html: Literal["always", "drifted", "never"] = "drifted",
    ) -> DriftReport:
        """The report of `day`, whose window holds the tickets `current`.

        HTML (4 MB) is rendered always, if the day has drifted, or never: of the day's own window,
        or of the week where that alone has drifted.

        Args:
            week: the tickets of the seven days up to `day`, which are then judged as well.
            figures: of `day` alone, to be kept with the report.

        Raises:
            DriftError: a column is missing, or the vectors have another length than those of the
                reference.
        """
        windows = (
            {window_days: current} if week is None else {window_days: current, WEEK_DAYS: week}
        )
        page = None
        with self._threads.limit(limits=1):
            judged = [self._judged(tickets, days) for days, tickets in windows.items()]
            rows = [row for window in judged for row in window.rows]
            drifted = [window for window in judged if any(row["drifted"] for row in window.rows)]
            if rows and (html == "always" or (html == "drifted" and drifted)):
                drawn = (drifted or judged)[0]
                snapshot = _run_evidently(*drawn.sides, drawn.rows, drawn=True)
                page = snapshot.get_html_str(as_iframe=False)
        columns = {"received_at": pd.Timestamp(day), "model_version": self._model_version}
        metrics = TABLES["drift_metrics"].frame([row | columns for row in rows])
        document = {
            "day": day.isoformat(),
            "model_version": self._model_version,
            "note": self._note,
            "metrics": rows,
            "figures": figures or {},
            "distributions": self._distributions.beside(judged[0].sides[1]) if rows else {},
            "evidently": [window.evidently for window in judged],
        }
        precision = {name: rows[-1][name] for name in PRECISION if rows and name in rows[-1]}
        return DriftReport(day, metrics, json.dumps(document), page, self._note, precision)

    def _judged(self, tickets: pd.DataFrame, window_days: int) -> _Judged:
        """The rows of a window's metrics, one for each that has values on both sides."""
        _require(tickets, "current window")
        side = self._current_side(tickets)
        rows = [
            row | {"window_days": window_days}
            for row in self._sizes_and_thresholds(side, looks_at(window_days))
        ]
        if self._vocabulary_words and len(tickets):
            rows.append(self._new_word(tickets) | {"window_days": window_days})
        if row := self._automatic_errors(tickets):
            rows.append(row | {"window_days": window_days})
        if not rows:
            return _Judged(rows, (side.table, side.table), {"metrics": [], "tests": []})
        sides = _along_the_shift(self._reference, side)
        evidently = self._measured(*sides, rows)
        # The verdict is Evidently's own: the table cannot contradict its report.
        for row, result, test in zip(rows, evidently["metrics"], evidently["tests"], strict=True):
            row |= {"distance": result["value"], "drifted": test["status"] == "FAIL"}
        return _Judged(rows, sides, evidently)

    def _measured(
        self, reference: pd.DataFrame, current: pd.DataFrame, rows: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """Evidently's distances and verdicts, in the order of the rows."""
        return dict(json.loads(_run_evidently(reference, current, rows).json()))

    def _new_word(self, tickets: pd.DataFrame) -> dict[str, Any]:
        """The row of the commonest word that the training does not know, with the word."""
        # A wave of copies says one thing, however many they are.
        texts = tickets["unknown_words"].groupby(tickets["text_hash"]).first()
        counts = Counter(word for words in texts for word in words)
        word, count = min(counts.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
        rows = len(self._reference.table)
        chance = new_word_share(self._vocabulary_words, rows, len(texts))
        return {
            "metric": NEW_WORD,
            "method": "document_share",
            "threshold": max(self._floors[NEW_WORD], chance),
            "reference_rows": rows,
            "current_rows": len(texts),
            "given": count / len(texts),
            "word": word,
        }

    def _automatic_errors(self, tickets: pd.DataFrame) -> dict[str, Any] | None:
        """The row of the automatic tickets that are estimated to be wrong; None without any."""
        if self._estimator is None:
            return None
        # A classifier is surer of what it learnt than it may be.
        automatic = tickets[(tickets["decision"] == "auto") & ~tickets["is_learnt"]]
        if automatic.empty:
            return None
        estimate = self._estimator.estimate(automatic["category_confidence"].to_numpy())
        return {
            "metric": AUTOMATIC_ERRORS,
            "method": "cbpe",
            "threshold": 1 - self._estimator.target + estimate.high - estimate.precision,
            "reference_rows": self._estimator.tickets,
            "current_rows": estimate.tickets,
            "given": 1 - estimate.precision,
            **dict(zip(PRECISION, (estimate.precision, estimate.low, estimate.high), strict=True)),
            BY_CATEGORY: {
                category: self._estimator.estimate(confidences.to_numpy()).precision
                for category, confidences in automatic.groupby("category")["category_confidence"]
            },
        }

    def _current_side(self, current: pd.DataFrame) -> _Side:
        current = current.sort_values("ticket_id")
        # A reference without vectors, of length 0, leaves nothing to compare.
        return self._side(current, _vectors(current[VECTOR], self._length)[:, : self._length])

    def _side(self, tickets: pd.DataFrame, vectors: Array) -> _Side:
        """Centres the vectors on the reference and divides them by its spread, so that one smallest
        distance suits every encoder."""
        # Column by column in memory, which makes the sums over a dimension more precise.
        return _Side(tickets, np.asfortranarray((vectors - self._centre) / self._spread))

    def _sizes_and_thresholds(self, current: _Side, looks: int) -> list[dict[str, Any]]:
        """One row per metric that has values on both sides."""
        sizes = {metric: len(current.values(metric)) for metric in self._chance}
        rows: list[dict[str, Any]] = [
            {
                "metric": metric,
                "method": METHODS[metric],
                "threshold": max(self._floors[metric], chance.threshold(sizes[metric], looks)),
                "reference_rows": chance.rows,
                "current_rows": sizes[metric],
            }
            for metric, chance in self._chance.items()
            if sizes[metric]
        ]
        for row in rows:
            if row["metric"] == CATEGORY_SHARE:
                row["given"] = _largest_shift(self._reference, current)
        return rows


@dataclass(frozen=True)
class _Judged:
    """A window's metrics, the two tables that were compared, and what Evidently says of them."""

    rows: list[dict[str, Any]]
    sides: tuple[pd.DataFrame, pd.DataFrame]
    evidently: dict[str, Any]


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
        column = "category" if metric == CATEGORY_SHARE else metric
        return np.asarray(self.table[column].dropna())


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


def _largest_shift(reference: _Side, current: _Side) -> float:
    shares = pd.concat(
        [side.table["category"].value_counts(normalize=True) for side in (reference, current)],
        axis=1,
    ).fillna(0.0)
    before, now = shares.to_numpy().T
    return float(largest_shift(before, now[np.newaxis])[0])


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


def as_page_text(label: str) -> str:
    """A name as a page of Evidently shows it and nothing else.

    Evidently writes names into a script of the page as they are, where `</script>` would end it,
    and Plotly takes tags in them for its own. It reads entities.
    """
    return html.escape(visible(label), quote=False)


def _as_page_text(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(**{name: table[name].map(as_page_text) for name in CATEGORICAL})


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

    from ticket_assets.drift.evidently_metrics import CentroidDrift, ColumnDrift, GivenDistance

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
    if drawn:
        reference, current = _as_page_text(reference), _as_page_text(current)
    metrics: list[Any] = []
    for row in rows:
        metric, method, threshold = row["metric"], row["method"], row["threshold"]
        verdict = [lt(threshold)]
        if metric == EMBEDDING:
            drawn_column = VECTOR if drawn else None
            metrics.append(
                CentroidDrift(embedding=metric, drawn_column=drawn_column, tests=verdict)
            )
        elif "given" in row:
            metrics.append(GivenDistance(name=metric, distance=row["given"], tests=verdict))
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
