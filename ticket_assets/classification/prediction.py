"""Applies a classifier: labels with calibrated confidences, decisions, and decisive words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ticket_assets.classification.calibration import probabilities
from ticket_assets.classification.candidates import Expert, combined_scores
from ticket_assets.classification.explanation import TermReader, decisive_terms
from ticket_assets.classification.features import (
    Booleans,
    Features,
    FeatureSpace,
    Floats,
    count_terms,
)
from ticket_assets.classification.learnt_tickets import LearntTickets
from ticket_assets.classification.likely_labels import LikelyLabels
from ticket_assets.errors import TicketAssetsError

TARGETS = ("category", "priority")
DECISIONS = {"category": "decision", "priority": "priority_decision"}
"""Per target the column with auto or review. The category decides the queue, so its decision is the
ticket's. The target precision holds for each label by itself."""
BATCH_ROWS = 1024
TERMS_SHOWN = 8
Terms = list[tuple[str, float]]
"""Words with their weights, the strongest first."""


class PredictionError(TicketAssetsError):
    """Tickets and vectors do not fit the model."""


@dataclass(frozen=True)
class TargetModel:
    """The model of one target: its experts, their temperatures, and the abstain thresholds."""

    labels: tuple[str, ...]
    candidate: str
    experts: tuple[Expert, ...]
    expert_temperatures: Mapping[str, float]
    temperature: float
    thresholds: Floats
    """Per label the least confidence of an automatic decision; above 1: always review."""

    def probabilities(self, features: Features) -> Floats:
        """Calibrated probabilities, shape (rows, labels)."""
        scores = {e.reads: e.scores(features, len(self.labels)) for e in self.experts}
        return probabilities(combined_scores(scores, self.expert_temperatures), self.temperature)

    def decide(self, probability: Floats) -> pd.DataFrame:
        """Columns label, confidence, automatic, of the likeliest labels."""
        codes = probability.argmax(axis=1)
        confidence = probability[np.arange(len(codes)), codes]
        return pd.DataFrame(
            {
                "label": np.array(self.labels, dtype=object)[codes],
                "confidence": confidence,
                "automatic": confidence >= self.thresholds[codes],
            }
        )


@dataclass(frozen=True)
class Classifier:
    """A fitted classifier; `targets` has `category` and, if it was learnt, `priority`."""

    encoder: str
    space: FeatureSpace
    targets: Mapping[str, TargetModel]

    def predict(
        self,
        tickets: pd.DataFrame,
        vectors: Floats,
        *,
        with_terms: bool = False,
        likely: LikelyLabels | None = None,
        reviewed: Booleans | None = None,
        learnt: LearntTickets | None = None,
    ) -> pd.DataFrame:
        """Labels, confidences and decisions, one row per ticket, on the index of `tickets`.

        A confidence is the calibrated probability of the label. `decision` belongs to the category,
        and so to the queue: `auto` where it is confident, else `review`; `priority_decision` is the
        same for the priority. Without a priority model the priority columns are null.

        Args:
            tickets: with the column text.
            vectors: aligned with `tickets`, shape (rows, d).
            with_terms: add the column `terms`: `explain` for the tickets for review, null for the
                others.
            likely: add the column `likely`: these labels, of tickets that are sure at least two;
                null for the `reviewed` ones, which are like none that were learnt.
            reviewed: whether a person looks at a ticket, however sure its labels are.
            learnt: the tickets that the classifier has learnt from, which are then as sure as
                their folds were; `tickets` have the column ticket_id too.

        Raises:
            PredictionError: `vectors` has other rows or another width than the model expects.
        """
        explain = self._explainer()
        terms: list[Terms | None] = []
        batches = []
        if reviewed is None:
            reviewed = np.zeros(len(tickets), dtype=bool)
        starts = range(0, len(tickets), BATCH_ROWS)
        for start, (texts, features) in zip(
            starts, self._batches(tickets["text"].tolist(), vectors), strict=True
        ):
            probability = {
                target: model.probabilities(features) for target, model in self.targets.items()
            }
            if learnt is not None:
                learnt.put_into(probability, tickets["ticket_id"].iloc[start : start + len(texts)])
            batch = self._decide(probability, len(texts))
            is_reviewed = reviewed[start : start + len(texts)]
            if likely is not None:
                # For the few of the sure ones that a person looks at all the same: one label alone
                # would tell that the model was sure.
                at_least = np.where(batch["decision"] == "auto", 2, 1)
                sets = pd.Series(likely.sets(probability["category"], at_least), dtype=object)
                batch["likely"] = sets.where(~is_reviewed, None)
            _review(batch, is_reviewed)
            batches.append(batch)
            if with_terms:
                review = np.flatnonzero(batch["decision"] == "review").tolist()
                explained = explain(
                    [texts[row] for row in review],
                    features.terms[review],
                    probability["category"][review],
                )
                by_row = dict(zip(review, explained, strict=True))
                terms += [by_row.get(row) for row in range(len(texts))]
        if not batches:
            empty = {target: np.zeros((0, len(m.labels))) for target, m in self.targets.items()}
            batches = [self._decide(empty, 0)]
            if likely is not None:
                batches[0]["likely"] = pd.Series([], dtype=object)
        predicted = pd.concat(batches, ignore_index=True)
        if with_terms:
            predicted["terms"] = pd.Series(terms, dtype=object)
        return predicted.set_axis(tickets.index)

    def explain(self, texts: Sequence[str], vectors: Floats, top: int = TERMS_SHOWN) -> list[Terms]:
        """Per text the words that decided most for its category against the next likeliest one.

        At most `top` words, the strongest first, each with its weight: its share of the difference
        of the two categories' scores. Empty where the vector alone decides the category.

        Raises:
            PredictionError: as in `predict`.
        """
        explain = self._explainer(top)
        model = self.targets["category"]
        return [
            words
            for batch, features in self._batches(texts, vectors)
            for words in explain(batch, features.terms, model.probabilities(features))
        ]

    def _batches(
        self, texts: Sequence[str], vectors: Floats
    ) -> Iterator[tuple[Sequence[str], Features]]:
        """Texts with their features, `BATCH_ROWS` at a time.

        Raises:
            PredictionError: as in `predict`.
        """
        self._check(len(texts), vectors)
        for start in range(0, len(texts), BATCH_ROWS):
            batch = texts[start : start + BATCH_ROWS]
            counts = count_terms(batch)
            yield batch, self.space.features(counts, vectors[start : start + BATCH_ROWS])

    def _explainer(
        self, top: int = TERMS_SHOWN
    ) -> Callable[[Sequence[str], Any, Floats], list[Terms]]:
        """A function of texts, their terms and the probabilities of their categories."""
        experts = self.targets["category"].experts
        expert = next((e for e in experts if e.reads != "vectors"), None)
        if expert is None:
            return lambda texts, terms, probability: [[] for _ in texts]
        reader = TermReader(self.space)

        def explain(texts: Sequence[str], terms: Any, probability: Floats) -> list[Terms]:
            likeliest = np.argsort(-probability, axis=1, kind="stable")
            return decisive_terms(expert, reader, texts, terms, likeliest, top=top)

        return explain

    def _check(self, rows: int, vectors: Floats) -> None:
        width = len(self.space.vector_centre)
        if len(vectors) != rows or (rows and vectors.shape[1] != width):
            raise PredictionError(
                f"The classifier expects {rows} vectors of width {width} from the encoder "
                f"{self.encoder}, but got an array of shape {vectors.shape}. Materialise "
                "ticket_embeddings with the encoder the classifier was trained with, or retrain."
            )

    def _decide(self, probability: Mapping[str, Floats], rows: int) -> pd.DataFrame:
        columns: dict[str, Any] = {}
        for target in TARGETS:
            if target not in self.targets:
                columns[target] = pd.Series([None] * rows, dtype=object)
                columns[f"{target}_confidence"] = np.full(rows, np.nan)
                columns[DECISIONS[target]] = pd.Series([None] * rows, dtype=object)
                continue
            decided = self.targets[target].decide(probability[target])
            columns[target] = decided["label"]
            columns[f"{target}_confidence"] = decided["confidence"]
            columns[DECISIONS[target]] = np.where(decided["automatic"], "auto", "review").astype(
                object
            )
        return pd.DataFrame(columns)


def _review(predicted: pd.DataFrame, rows: Booleans) -> None:
    for decision in DECISIONS.values():
        predicted[decision] = predicted[decision].mask(rows & predicted[decision].notna(), "review")


def require_vectors(tickets: int, vectors: int, encoder: str, version: str) -> None:
    """Check that each of so many tickets has a vector of the encoder that a model reads.

    Raises:
        PredictionError: some have none, as after a change of the encoder whose candidate failed.
    """
    if vectors < tickets:
        raise PredictionError(
            f"{tickets - vectors:,} of {tickets:,} tickets have no vector of {encoder}, which the"
            f" champion {version} reads: their predictions stay as they are. Get a candidate"
            f" promoted with the present encoder, or {way_back_to(encoder)}"
        )


def way_back_to(encoder: str) -> str:
    """How a desk comes back to the encoder of this model id, which knows a folder's last part."""
    name = encoder.partition("@")[0]
    return (
        f"go back: set TICKETS_ENCODER={name} and its other settings as they were, and accept them:"
        " tickets run --accept-settings"
    )
