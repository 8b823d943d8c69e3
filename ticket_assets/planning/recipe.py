"""The recipe of a day's rows: a digest of the code versions and settings that decide them."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ticket_assets.desk import Desk
    from ticket_assets.routing import Routing
    from ticket_assets.settings import Settings

CODE_VERSIONS = {
    "raw_tickets": "3",
    "rejected_messages": "1",
    "clean_tickets": "9",
    "ticket_embeddings": "2",
    "ticket_collection": "1",
    "ticket_predictions": "6",
    "drift_metrics": "2",
    "drift_report": "2",
}
"""Of the assets with days. Raise one when its code makes other rows from the same mail."""
_SETTINGS = {
    "max_message_mb",
    "languages",
    "phone_regions",
    "mask_ip_addresses",
    "secrets_in_context",
    "reply_delimiter",
    "encoder",
    "encoder_precision",
    "encoder_max_tokens",
    "encoder_dimension",
    "neighbours",
    "drift_distances",
    "drift_min_tickets",
    "seed",
}


def recipe(desk: Desk) -> str:
    """Equal for code and settings that make the same rows from the same mail.

    Raises:
        DeskRecordError: what the desk was made with cannot be read.
        RoutingError: the routing file is missing or cannot be used.
    """
    return recipe_with(desk.settings_in_use, desk.routing)


def recipe_with(settings: Settings, routing: Routing) -> str:
    """The recipe of a desk that has these settings and labels."""
    content = [
        CODE_VERSIONS,
        settings.model_dump(mode="json", include=_SETTINGS),
        routing.destinations,
        routing.priorities,
        routing.review_queue,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
