"""Sorts one text with the champion, with the reasons."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ticket_assets.errors import TicketAssetsError

if TYPE_CHECKING:
    from ticket_assets.classification.prediction import TargetModel
    from ticket_assets.desk import Desk
    from ticket_assets.storage.neighbours import Neighbour
    from ticket_assets.storage.warehouse import Warehouse
    from ticket_assets.text.cleaning import CleanText


class TriageError(TicketAssetsError):
    """A text cannot be sorted."""


@dataclass(frozen=True)
class SortedTicket:
    """The champion's answer for one text, with the reasons."""

    category: str
    category_confidence: float
    priority: str | None
    priority_confidence: float | None
    priority_decision: str | None
    decision: str
    """auto where the category is sure and the ticket goes to its queue, else review."""
    review_reasons: dict[str, str]
    """Why a person has to review the category or the priority, of those that are not sure."""
    likely: list[str]
    """The few categories of which one is right in 95 % of the cases; empty when automatic, unlike
    anything learnt, or where it takes more than three."""
    queue: str
    language: str
    terms: list[tuple[str, float]]
    """Words that decided most for the category against the next likeliest, with their weights."""
    nearest: list[dict[str, Any]]
    """Nearest labelled tickets: ticket_id, similarity, category, priority, day, text."""
    model_version: str

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON has them, numbers with four decimals."""
        terms = [{"term": term, "weight": round(weight, 4)} for term, weight in self.terms]
        rounded = {
            name: None if share is None else round(share, 4)
            for name, share in vars(self).items()
            if name.endswith("_confidence")
        }
        return vars(self) | rounded | {"terms": terms}


def triage(text: str, desk: Desk) -> SortedTicket:
    """Sorts a text with the champion, cleaned and masked like a ticket's.

    Raises:
        TriageError: the text is empty, or no model has been trained yet.
    """
    from ticket_assets.text.cleaning import clean_text
    from ticket_assets.text.html import has_tags, html_to_text, without_entities

    text = html_to_text(text) if has_tags(text) else without_entities(text)
    subject, _, body = text.strip().partition("\n")
    clean = clean_text(
        subject,
        body,
        None,
        languages=desk.settings.languages,
        phone_regions=desk.settings.phone_regions,
        mask_ip_addresses=desk.settings.mask_ip_addresses,
        reply_delimiter=desk.settings.reply_delimiter,
        secrets=desk.secrets_in_context,
    )
    if not clean.text:
        raise TriageError("There is no text to classify. Give one, or `-` and standard input.")
    return _triage(clean, desk)


def _triage(clean: CleanText, desk: Desk) -> SortedTicket:
    import pandas as pd

    from ticket_assets.classification.decisions import queues
    from ticket_assets.classification.familiarity import SENTENCES
    from ticket_assets.classification.prediction import DECISIONS, way_back_to

    store = desk.models
    champion = store.champion()
    if champion is None:
        raise TriageError(
            f"There is no trained model in {desk.models.blobs.location} yet. Import"
            " labelled mail with `tickets import PATH --labels FILE`, then train with"
            " `tickets run`."
        )
    classifier = store.load(champion.version)
    configured = desk.encoder
    if configured.model_id != champion.encoder:
        raise TriageError(
            f"The champion was trained on vectors of {champion.encoder}, and the desk's are now of"
            f" {configured.model_id}. Train again: tickets run. Or {way_back_to(champion.encoder)}"
        )
    vectors = configured.encoder.encode([clean.text])
    ticket = pd.DataFrame(
        {"text": [clean.text], "tokens": [" ".join(clean.tokens)], "language": [clean.language]}
    )
    familiarity = store.load_familiarity(champion.version, classifier)
    unfamiliar = familiarity.reasons(ticket, vectors)
    predicted = classifier.predict(
        ticket,
        vectors,
        likely=store.load_likely_labels(champion.version, classifier),
        reviewed=unfamiliar.notna().to_numpy(),
    )
    row = predicted.iloc[0]
    with desk.collection(champion.encoder) as collection:
        nearest = collection.nearest(vectors, desk.settings.neighbours, labelled_only=True)[0]
    has_priority = row["priority"] is not None
    return SortedTicket(
        category=row["category"],
        category_confidence=float(row["category_confidence"]),
        priority=row["priority"],
        priority_confidence=float(row["priority_confidence"]) if has_priority else None,
        priority_decision=row["priority_decision"],
        decision=row["decision"],
        review_reasons={
            target: SENTENCES.get(unfamiliar.iloc[0])
            or _review_reason(model, target, row[target], row[f"{target}_confidence"])
            for target, model in classifier.targets.items()
            if row[DECISIONS[target]] == "review"
        },
        likely=(row["likely"] or []) if row["decision"] == "review" else [],
        queue=queues(predicted, desk.routing).iloc[0],
        language=clean.language,
        terms=classifier.explain([clean.text], vectors)[0],
        nearest=_with_texts(nearest, desk.warehouse),
        model_version=champion.version,
    )


def _review_reason(model: TargetModel, target: str, label: str, confidence: float) -> str:
    """Why a person has to look at a label that is not sure."""
    from ticket_assets.classification.calibration import ALWAYS_REVIEW

    # Of categories that were merged since the training each has its own.
    threshold = min(
        float(threshold)
        for name, threshold in zip(model.labels, model.thresholds, strict=True)
        if name == label and threshold > confidence
    )
    if threshold >= ALWAYS_REVIEW:
        return (
            f"this {target} is always reviewed: its past labels are too few, or too often mistaken"
        )
    return f"below its threshold of {threshold:.1%}"


def _with_texts(neighbours: Iterable[Neighbour], warehouse: Warehouse) -> list[dict[str, Any]]:
    rows = [neighbour.as_dict() for neighbour in neighbours]
    if not rows:
        return []
    import pandas as pd

    texts = warehouse.frame(
        "select ticket_id, text from clean_tickets where ticket_id in (select ticket_id from near)",
        frames={"near": pd.DataFrame(rows)[["ticket_id"]]},
    ).set_index("ticket_id")["text"]
    return [{**row, "text": str(texts.get(row["ticket_id"], ""))} for row in rows]
