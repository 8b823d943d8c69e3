"""What a receiver is told of one ticket."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid5


@dataclass(frozen=True)
class Decision:
    """What holds of a ticket. Nothing of its text: the receiver has the mail, by `message_id`.

    What a person has to decide is None here, so that a receiver which looks at nothing else takes
    no guess for a decision.
    """

    ticket_id: str
    received_at: datetime
    """UTC, without a time zone, as in the tables."""
    message_id: str | None
    category: str | None
    """None where `decision` is review."""
    category_confidence: float | None
    """Calibrated probability of the category; None where the model did not decide it."""
    priority: str | None
    """None where the model is not sure of it."""
    priority_confidence: float | None
    queue: str
    """The category's queue, or the review queue."""
    decision: str
    """auto or review."""
    decided_by: str
    """model or conversation."""
    review_reason: str | None
    likely: tuple[str, ...]
    """For a review the likeliest categories, the likeliest first; may be empty."""
    model_version: str


@dataclass(frozen=True)
class Intent:
    """A decision that is about to be told."""

    key: str
    """Idempotency key: the same whenever this decision is told."""
    batch: str
    """What is told together: after a kill those without a receipt come again under the same name.
    """
    intended_at: datetime
    """When it was first about to be told (UTC, without a time zone)."""
    decision: Decision


def idempotency_key(desk: str, receiver: str, ticket_id: str) -> str:
    """A UUID for what a desk tells a receiver of a ticket.

    It depends on no model: a delivered decision is not revised.

    Args:
        desk: the desk's own UUID.
    """
    return str(uuid5(UUID(desk), f"{receiver}/{ticket_id}"))
