"""The kind of store that a location names."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ticket_assets.storage.blobs import Blobs, BlobStoreError
from ticket_assets.storage.bucket_blobs import BucketBlobs
from ticket_assets.storage.folder_blobs import FolderBlobs
from ticket_assets.storage.s3_access import S3Access


def blobs_at(location: str | Path, access: S3Access) -> Blobs:
    """The blobs in a folder, or in a bucket given as `s3://bucket/prefix`.

    Raises:
        BlobStoreError: the package for buckets is not installed.
    """
    if str(location).startswith("s3://"):
        if find_spec("obstore") is None:
            raise BlobStoreError(
                f"{location} needs the package obstore: install ticket-assets[shared]."
            )
        return BucketBlobs(str(location), access)
    return FolderBlobs(Path(location))
