"""The groups that the lineage shows, and the pools that steps claim."""

# In the order in which mail passes through them, which is the order of the alphabet as well. No
# arrow of the lineage leads back to an earlier group.
MAIL = "1_mail"
TEXT = "2_text"
LEARNING = "3_learning"
SORTING = "4_sorting"
DRIFT = "5_drift"

WAREHOUSE_POOL = "warehouse"
"""Claimed by every asset and check that opens the DuckDB file, which takes one writer."""

COLLECTION_POOL = "collection"
"""Claimed by what uses Chroma's embedded client, which takes one process. A step can claim one
pool: these also open the DuckDB file, for a statement at a time, and wait for its lock."""
