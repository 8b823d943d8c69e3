"""What became of automatic decisions, as the latest look at the labels has recorded it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from ticket_assets.accounting_view import BY_LABEL
from ticket_assets.orchestration.observation.latest_metadata import latest_json, latest_metadata


def label_accounts(instance: dg.DagsterInstance) -> Mapping[str, Mapping[str, Any]] | None:
    """The account and evidence of each label; None before the first look."""
    by_label: Mapping[str, Mapping[str, Any]] | None = latest_json(
        instance, "suspended_labels", BY_LABEL
    )
    return by_label


def waiting_for_review(instance: dg.DagsterInstance) -> int | None:
    """The number of tickets in the review queue; None before the first."""
    rows = latest_metadata(instance, "review_queue").get("dagster/row_count")
    return rows.value if isinstance(rows, dg.IntMetadataValue) else None
