"""Access to an S3 server: what DuckDB and the object store are both given."""

from __future__ import annotations

from dataclasses import dataclass, field

from ticket_assets.settings import Settings, SettingsError


@dataclass(frozen=True)
class S3Access:
    """Where the server is and who asks; what is None comes from the cloud's own chain (variables
    AWS_*, the machine's role)."""

    endpoint: str | None = None
    """Like http://minio:9000; None is Amazon's."""
    region: str | None = None
    key_id: str | None = None
    secret: str | None = field(default=None, repr=False)


def s3_access(settings: Settings) -> S3Access:
    """The access that the settings describe.

    Raises:
        SettingsError: it is set in part, or the file of the secret cannot be read.
    """
    key_id, secret = settings.s3_key_id, settings.secret("s3_secret")
    if (key_id is None) != (secret is None):
        raise SettingsError(
            "TICKETS_S3_KEY_ID needs a secret and the other way round: TICKETS_S3_SECRET_FILE or"
            " TICKETS_S3_SECRET. Without all three, the cloud's own chain is used."
        )
    return S3Access(settings.s3_endpoint, settings.s3_region, key_id, secret)
