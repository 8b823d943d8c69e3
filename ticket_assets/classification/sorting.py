"""Sorts tickets with the champion: labels, decision, queue and the nearest labelled past ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from ticket_assets.errors import TicketAssetsError
from ticket_assets.routing import Routing, load_routing
from ticket_assets.storage.collection import Neighbour, TicketCollection, neighbours_json
from ticket_assets.storage.vectors import Matrix
from ticket_assets.storage.warehouse import Warehouse

if TYPE_CHECKING:
    from ticket_assets.classification.prediction import Classifier
    from ticket_assets.settings import Settings


class SortingError(TicketAssetsError):
    """A text cannot be sorted."""


@dataclass(frozen=True)
class SortedTicket:
    """What the champion says of one text, and why."""

    category: str
    category_confidence: float
    priority: str | None
    priority_confidence: float | None
    priority_decision: str | None
    decision: str
    """auto where the category is sure and the ticket goes to its queue, else review."""
    queue: str
    language: str
    terms: list[tuple[str, float]]
    """Words that spoke most for the category, with their weight."""
    nearest: list[dict[str, Any]]
    """Nearest labelled tickets: ticket_id, similarity, category, priority, day, text."""
    model_version: str

    def as_dict(self) -> dict[str, Any]:
        return {
            "category": self.category,
            "category_confidence": _rounded(self.category_confidence),
            "priority": self.priority,
            "priority_confidence": _rounded(self.priority_confidence),
            "priority_decision": self.priority_decision,
            "decision": self.decision,
            "queue": self.queue,
            "language": self.language,
            "terms": [{"term": term, "weight": round(weight, 4)} for term, weight in self.terms],
            "nearest": self.nearest,
            "model_version": self.model_version,
        }


def sort_tickets(
    tickets: pd.DataFrame,
    vectors: Matrix,
    classifier: Classifier,
    collection: TicketCollection,
    routing: Routing,
    *,
    model_version: str,
    neighbours: int,
) -> pd.DataFrame:
    """The rows of ticket_predictions for `tickets`, in their order.

    Args:
        tickets: ticket_id, received_at and text.
        vectors: float32 of shape (len(tickets), dimension), aligned with `tickets`.
    """
    predicted = classifier.predict(tickets, vectors)
    return pd.DataFrame(
        {
            "ticket_id": tickets["ticket_id"],
            "received_at": tickets["received_at"],
            **predicted.to_dict("series"),
            "queue": _queues(predicted, routing),
            "nearest": _nearest(tickets["received_at"], vectors, collection, neighbours),
            "model_version": model_version,
        }
    )


def sort_text(text: str, settings: Settings) -> SortedTicket:
    """What the champion says of a text, cleaned and masked like a ticket's.

    Raises:
        SortingError: the text is empty, or no model has been trained yet.
    """
    from ticket_assets.classification.model_store import ModelStore
    from ticket_assets.embedding.encoder import Encoder
    from ticket_assets.embedding.presets import resolve_model
    from ticket_assets.text.cleaning import clean_text

    subject, _, body = text.strip().partition("\n")
    clean = clean_text(
        subject,
        body,
        None,
        languages=settings.languages,
        phone_regions=settings.phone_regions,
        mask_ip_addresses=settings.mask_ip_addresses,
    )
    if not clean.text:
        raise SortingError("There is no text to classify. Give one, or `-` and standard input.")
    store = ModelStore(settings.models_dir)
    champion = store.champion()
    if champion is None:
        raise SortingError(
            f"There is no trained model in {settings.models_dir.absolute()} yet. Import labelled"
            " mail with `tickets import PATH --labels FILE`, then train with `tickets run`."
        )
    classifier = store.load(champion.version)
    encoder = Encoder.load(
        resolve_model(
            settings.encoder,
            encoders_dir=settings.encoders_dir,
            allow_download=settings.allow_download,
        ),
        precision=settings.encoder_precision,
        max_tokens=settings.encoder_max_tokens,
        batch_tokens=settings.encoder_batch_tokens,
        threads=settings.encoder_threads,
    )
    if encoder.model_id != champion.encoder:
        raise SortingError(
            f"The champion was trained with the encoder {champion.encoder}, the settings say"
            f" {encoder.model_id}. Set TICKETS_ENCODER back, or train again: tickets run."
        )
    vectors = encoder.encode([clean.text])
    predicted = classifier.predict(pd.DataFrame({"text": [clean.text]}), vectors)
    row = predicted.iloc[0]
    with TicketCollection.open(
        champion.encoder, folder=settings.collection_dir, url=settings.chroma_url
    ) as collection:
        nearest = collection.nearest(vectors, settings.neighbours, labelled_only=True)[0]
    has_priority = row["priority"] is not None
    return SortedTicket(
        category=row["category"],
        category_confidence=float(row["category_confidence"]),
        priority=row["priority"],
        priority_confidence=float(row["priority_confidence"]) if has_priority else None,
        priority_decision=row["priority_decision"],
        decision=row["decision"],
        queue=_queues(predicted, load_routing(settings.routing)).iloc[0],
        language=clean.language,
        terms=classifier.explain(clean.text, vectors[0]),
        nearest=_with_texts(nearest, Warehouse(settings.warehouse_path)),
        model_version=champion.version,
    )


def _queues(predicted: pd.DataFrame, routing: Routing) -> pd.Series:
    """The category's queue where the category is sure; the review queue elsewhere, and where the
    routing file no longer has the category."""
    queue = predicted["category"].map(routing.queues)
    return queue.where(predicted["decision"] == "auto").fillna(routing.review_queue)


def _nearest(
    received_at: pd.Series, vectors: Matrix, collection: TicketCollection, count: int
) -> pd.Series:
    """Nearest labelled tickets of earlier days as JSON; a day at a time, as the filter is."""
    found = pd.Series(index=received_at.index, dtype=object)
    positions = pd.Series(range(len(received_at)), index=received_at.index)
    for day, rows in positions.groupby(received_at.dt.date):
        neighbours = collection.nearest(
            vectors[rows.to_numpy()], count, labelled_only=True, before=cast(date, day)
        )
        found[rows.index] = [neighbours_json(near) for near in neighbours]
    return found


def _with_texts(neighbours: Iterable[Neighbour], warehouse: Warehouse) -> list[dict[str, Any]]:
    rows = [neighbour.as_dict() for neighbour in neighbours]
    if not rows:
        return []
    texts = warehouse.frame(
        "select ticket_id, text from clean_tickets where ticket_id in (select ticket_id from near)",
        frames={"near": pd.DataFrame(rows)[["ticket_id"]]},
    ).set_index("ticket_id")["text"]
    return [{**row, "text": str(texts.get(row["ticket_id"], ""))} for row in rows]


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
