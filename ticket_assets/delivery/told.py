"""A decision as it is written for receivers that take JSON or CSV."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any

from ticket_assets.delivery.decisions import Intent


def told(intent: Intent) -> dict[str, Any]:
    """The key and the fields of the decision; times in ISO 8601, UTC."""
    return {
        "key": intent.key,
        **asdict(intent.decision),
        "received_at": utc(intent.decision.received_at),
        "decided_at": utc(intent.intended_at),
    }


def utc(moment: datetime) -> str:
    """A time of the tables in ISO 8601."""
    return f"{moment.isoformat(timespec='seconds')}Z"
