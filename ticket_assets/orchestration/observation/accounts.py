"""What became of automatic decisions, as the latest look at the labels has recorded it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from ticket_assets.accounting_view import BY_LABEL

SUSPENSIONS = dg.AssetKey("suspended_labels")
QUEUE = dg.AssetKey("review_queue")


def label_accounts(instance: dg.DagsterInstance) -> Mapping[str, Mapping[str, Any]] | None:
    """The account and evidence of each label; None before the first look."""
    by_label = _latest_metadata(instance, SUSPENSIONS).get(BY_LABEL)
    return by_label.value if isinstance(by_label, dg.JsonMetadataValue) else None  # type: ignore[return-value]


def waiting_for_review(instance: dg.DagsterInstance) -> int | None:
    """The number of tickets in the review queue; None before the first."""
    rows = _latest_metadata(instance, QUEUE).get("dagster/row_count")
    return rows.value if isinstance(rows, dg.IntMetadataValue) else None


def _latest_metadata(
    instance: dg.DagsterInstance, asset: dg.AssetKey
) -> Mapping[str, dg.MetadataValue[Any]]:
    latest = instance.get_latest_materialization_event(asset)
    made = latest.asset_materialization if latest else None
    return made.metadata if made else {}
