"""The mark of a desk whose restore is under way: nothing else may work on it."""

from __future__ import annotations

import json

from ticket_assets.errors import TicketAssetsError
from ticket_assets.storage.blobs import BlobNotFoundError, Blobs

RESTORING = "restoring.json"
"""Names the target and the snapshot; removed at the end of the restore."""


class BackupError(TicketAssetsError):
    """A backup cannot be made, found or restored."""


def refuse_half_restored(files: Blobs) -> None:
    """Pass unless a restore of this desk was interrupted, or is under way.

    Raises:
        BackupError: it is; only the same restore goes on.
    """
    try:
        source = json.loads(files.read(RESTORING))
        target, snapshot = source["target"], source["snapshot"]
    except BlobNotFoundError:
        return
    except (ValueError, TypeError, KeyError):
        raise BackupError(
            f"The restore of {files.location} has not ended, and {RESTORING}, which names the"
            " backup, cannot be read. Restore again, to an empty folder."
        ) from None
    raise BackupError(
        f"The restore of {files.location} has not ended. Complete it: `tickets restore"
        f" {target} --snapshot {snapshot}`."
    )
