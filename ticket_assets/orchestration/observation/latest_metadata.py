"""What the latest run of an asset has recorded of it, for which no store has to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg


def latest_metadata(
    instance: dg.DagsterInstance, asset: str
) -> Mapping[str, dg.MetadataValue[Any]]:
    """The metadata of the asset's latest materialisation; empty before the first."""
    latest = instance.get_latest_materialization_event(dg.AssetKey(asset))
    made = latest.asset_materialization if latest else None
    return made.metadata if made else {}


def latest_json(instance: dg.DagsterInstance, asset: str, name: str) -> Any:
    """The JSON that stands under a name in it; None where there is none."""
    value = latest_metadata(instance, asset).get(name)
    return value.value if isinstance(value, dg.JsonMetadataValue) else None
