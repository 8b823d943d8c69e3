"""The pools that steps claim, each of one slot; a step can claim one."""

from ticket_assets.defs.partitions import DESK

WAREHOUSE_POOL = None if DESK.settings.warehouse else "warehouse"
"""Claimed by every asset and check that opens the DuckDB file, which takes one writer. A shared
warehouse takes many: nothing waits for it."""

COLLECTION_POOL = None if DESK.settings.chroma_url else "collection"
"""Claimed by what uses Chroma's embedded client, which takes one process; a server takes many.
These also open the DuckDB file, for a statement at a time, and wait for its lock."""

DELIVERY_POOL = "delivery"
"""Claimed by what tells receivers: one at a time, and however slow they are, nothing else waits.
It opens the DuckDB file for a statement at a time as well."""
