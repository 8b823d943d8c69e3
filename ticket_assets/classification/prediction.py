"""The classifier in use: labels with calibrated confidences, decisions, and the words behind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ticket_assets.classification.calibration import probabilities
from ticket_assets.classification.candidates import Expert, combined_scores
from ticket_assets.classification.explanation import TermReader, decisive_terms
from ticket_assets.classification.features import (
    Features,
    FeatureSpace,
    Floats,
    count_terms,
)
from ticket_assets.errors import TicketAssetsError

TARGETS = ("category", "priority")
DECISIONS = {"category": "decision", "priority": "priority_decision"}
"""Column that says whether a target's label is sure. The category decides the queue, so its
decision is the ticket's; a target precision holds for each label by itself."""
BATCH_ROWS = 1024


class PredictionError(TicketAssetsError):
    """Tickets and vectors do not fit the model."""


@dataclass(frozen=True)
class TargetModel:
    """What decides one label: its experts, their temperatures, and the abstain thresholds."""

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
    """A fitted classifier of tickets; `targets` has `category` and, where learnt, `priority`."""

    encoder: str
    space: FeatureSpace
    targets: Mapping[str, TargetModel]

    def predict(self, tickets: pd.DataFrame, vectors: Floats) -> pd.DataFrame:
        """Labels, confidences and decisions, one row per ticket, on the index of `tickets`.

        `tickets` needs the column text; `vectors` is aligned, shape (rows, d). A confidence is the
        calibrated probability of the label. `decision` is about the category, and so the queue:
        `auto` where it is confident, else `review`; `priority_decision` is the same of the
        priority. Without a priority model the priority columns are null.

        Raises:
            PredictionError: `vectors` has other rows or another width than the model expects.
        """
        self._check(len(tickets), vectors)
        texts = tickets["text"].tolist()
        batches = [
            self._predict_batch(
                texts[start : start + BATCH_ROWS], vectors[start : start + BATCH_ROWS]
            )
            for start in range(0, len(texts), BATCH_ROWS)
        ] or [_empty_predictions()]
        return pd.concat(batches, ignore_index=True).set_axis(tickets.index)

    def explain(
        self, texts: Sequence[str], vectors: Floats, top: int = 8
    ) -> list[list[tuple[str, float]]]:
        """Per text the words that weighed most for its category against the next likeliest one.

        At most `top` words, the strongest first, each with its weight: its share of the difference
        of the two categories' scores. Empty where the category is decided by the vector alone.

        Raises:
            PredictionError: as in `predict`.
        """
        self._check(len(texts), vectors)
        model = self.targets["category"]
        expert = next((e for e in model.experts if e.reads != "vectors"), None)
        if expert is None:
            return [[] for _ in texts]
        reader = TermReader(self.space)
        explained = []
        for start in range(0, len(texts), BATCH_ROWS):
            batch = texts[start : start + BATCH_ROWS]
            features = self.space.features(count_terms(batch), vectors[start : start + BATCH_ROWS])
            likeliest = np.argsort(-model.probabilities(features), axis=1, kind="stable")
            explained += decisive_terms(expert, reader, batch, features.terms, likeliest, top=top)
        return explained

    def _check(self, rows: int, vectors: Floats) -> None:
        width = len(self.space.vector_centre)
        if len(vectors) != rows or (rows and vectors.shape[1] != width):
            raise PredictionError(
                f"The classifier expects {rows} vectors of width {width} from the encoder "
                f"{self.encoder}, but got an array of shape {vectors.shape}. Materialise "
                "ticket_embeddings with the encoder the classifier was trained with, or retrain."
            )

    def _predict_batch(self, texts: Sequence[str], vectors: Floats) -> pd.DataFrame:
        features = self.space.features(count_terms(texts), vectors)
        columns: dict[str, Any] = {}
        for target in TARGETS:
            model = self.targets.get(target)
            if model is None:
                columns[target] = pd.Series([None] * len(texts), dtype=object)
                columns[f"{target}_confidence"] = np.full(len(texts), np.nan)
                columns[DECISIONS[target]] = pd.Series([None] * len(texts), dtype=object)
                continue
            decided = model.decide(model.probabilities(features))
            columns[target] = decided["label"]
            columns[f"{target}_confidence"] = decided["confidence"]
            columns[DECISIONS[target]] = np.where(decided["automatic"], "auto", "review").astype(
                object
            )
        return pd.DataFrame(columns)


def require_vectors(tickets: int, vectors: int, encoder: str, version: str) -> None:
    """Check that each of so many tickets has a vector of the encoder that a model reads.

    Raises:
        PredictionError: some have none, as after a change of the encoder whose candidate failed.
    """
    if vectors < tickets:
        raise PredictionError(
            f"{tickets - vectors:,} of {tickets:,} tickets have no vector of {encoder}, which the"
            f" champion {version} reads: their predictions stay as they are. Set TICKETS_ENCODER"
            " back, or get a candidate promoted with the present one."
        )


def _empty_predictions() -> pd.DataFrame:
    columns: dict[str, Any] = {}
    for target in TARGETS:
        columns[target] = pd.Series([], dtype=object)
        columns[f"{target}_confidence"] = pd.Series([], dtype=float)
        columns[DECISIONS[target]] = pd.Series([], dtype=object)
    return pd.DataFrame(columns)
