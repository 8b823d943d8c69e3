"""How many new labels there were when automation looked last, in a blob: others read it without
the tables."""

from __future__ import annotations

import json

from ticket_assets.storage.blobs import BlobNotFoundError, Blobs

NAME = "new_labels.json"


def write_new_labels(cursors: Blobs, count: int) -> None:
    """Replace the blob, if the number differs."""
    if read_new_labels(cursors) != count:
        cursors.replace(NAME, json.dumps({"new_labels": count}).encode())


def read_new_labels(cursors: Blobs) -> int | None:
    """Tickets labelled since the last training, at the last look; None before the first."""
    try:
        return int(json.loads(cursors.read(NAME))["new_labels"])
    except (BlobNotFoundError, ValueError, TypeError, KeyError):
        return None
