"""Every setting of the product: typed, documented, read from `TICKETS_*` variables or `.env`."""

from __future__ import annotations

import difflib
import functools
import os
import re
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    NoDecode,
    SettingsConfigDict,
)

from ticket_assets.errors import TicketAssetsError

PREFIX = "TICKETS_"
LAKE = "ducklake:postgres:"
"""Begins the address of a shared warehouse; the rest is Postgres's connection string."""
EXPORT_FIELDS = (
    *("subject", "body", "sender", "sender_name", "recipients", "received_at", "message_id"),
    *("in_reply_to", "category", "priority"),
)
"""The fields of a ticket that an export can hold."""
DateOrder = Literal["day-first", "month-first"]
"""What stands first in a date in figures."""

DRIFT_DISTANCES = {
    "language": 0.1,
    "category": 0.1,
    "category_share": 0.02,
    "character_count": 0.1,
    "category_confidence": 0.15,
    "oov_share": 0.15,
    "embedding": 0.02,
    "new_word": 0.05,
}
"""Below these distances a change of the mail does not matter, whatever chance allows: languages and
lengths move by themselves, and confidences of new mail lie a little above those out of fold. The
other metrics notice a shift before the categories and words as a whole do (docs/drift.md)."""

SHARED_STORES = (
    *("warehouse", "warehouse_password_file", "warehouse_data"),
    *("files", "chroma_url", "chroma_token", "chroma_token_file", "chroma_ca_file"),
    *("dagster_postgres", "dagster_postgres_password_file"),
)
"""The settings of what stands outside the data folder; without them everything is in it."""
_LANGUAGES = Path(__file__).parent / "text" / "languages"
# Kubernetes announces a service named `tickets` or `tickets-web` to every pod beside it, as in
# TICKETS_WEB_SERVICE_HOST or TICKETS_PORT_80_TCP_ADDR.
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_WINDOW = re.compile(r"(\w+)=(\d{1,5})([mhdw])")
# Without an account: no request would tell it, and messages name the address.
_URL = r"^https?://[^/\s:@]+(:\d{1,5})?(/\S*)?$"
_USER_INFO = re.compile(r"(?<=//)\S*@")
"""The account and password in an address, where somebody has put them."""
_SERVICE_LINK = re.compile(r"tickets_(\w+_)?(service_(host|port(_\w+)?)|port(_\d+_(tcp|udp)\w*)?)")


class SettingsError(TicketAssetsError):
    """A setting has a value that is not allowed, or there is no such setting."""


class Settings(BaseSettings):
    """All user settings. A field `name` is read from the variable `TICKETS_NAME`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        validate_default=False,
        str_strip_whitespace=True,
    )

    data_dir: Path = Field(
        default=Path("data"),
        description="Folder of everything the product writes: landing zone, warehouse, collection,"
        " models, reports. Relative to the working directory.",
    )
    first_day: date | None = Field(
        default=None,
        description="First day (UTC, YYYY-MM-DD) whose mail is processed. Unset: the earliest day"
        " of the first import. Older mail is landed but waits until this is moved back.",
    )
    routing: Path | None = Field(
        default=None,
        description="YAML file with the desk's categories, their queues and its priorities."
        " Unset: the packaged routing.yaml.",
    )
    languages: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("fr", "en", "de", "es", "pt"),
        min_length=1,
        description="Languages the desk receives, comma-separated, the main one first.",
    )
    phone_regions: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("FR", "BE", "CH", "GB", "US", "DE", "ES", "PT"),
        min_length=1,
        description="Countries (ISO codes, comma-separated) whose national phone numbers are"
        " recognised and masked; international ones always are.",
    )
    mask_ip_addresses: bool = Field(
        default=True, description="Replace IP addresses in ticket texts by a placeholder."
    )
    secrets_in_context: bool = Field(
        default=True,
        description="Read the words around a possible password with a model, on the packaged"
        " multilingual-e5-small, where no rule knows it. false: by rules and word lists alone,"
        " which leave more passwords readable, for less time and memory.",
    )
    reply_delimiter: str | None = Field(
        default=None,
        description="Line of the desk's own mail above which people answer, where it is not one of"
        " the usual ones, as in === Answers above ===. What follows it is not the requester's.",
    )
    export_columns: str | None = Field(
        default=None,
        description="Columns of the desk's exports where they have names of their own, as in"
        " body=Details,category=Team. Unset: the usual names are recognised.",
    )
    export_dates: DateOrder | None = Field(
        default=None,
        description="What stands first in the dates of exports that could be read both ways, as"
        " 03/04/2026. Unset: what each export shows by its other dates; one that shows nothing is"
        " refused.",
    )
    raw_mail_days: int | None = Field(
        default=None,
        ge=1,
        le=36_500,
        description="Days for which original mail and its whole text are kept; masked texts and"
        " predictions stay. Unset: for ever.",
    )
    max_message_mb: int = Field(
        default=50, ge=1, le=160, description="Messages larger than this (MB) are rejected."
    )
    poll_seconds: int = Field(
        default=60,
        ge=10,
        le=86_400,
        description="Seconds between two looks at the mail sources, by the sensor `new_mail`.",
    )
    drop_folder: Path | None = Field(
        default=None,
        description="Folder in which mail and exports are put to be landed: .eml, mbox, archives,"
        " tables. Files stay there. Unset: none.",
    )
    maildir: Path | None = Field(
        default=None,
        description="Maildir whose messages are landed; nothing in it is moved. Unset: none.",
    )
    imap_host: str | None = Field(
        default=None,
        description="IMAP server that mail is fetched from. Unset: none.",
    )
    imap_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of the IMAP server. Unset: the usual one of its security.",
    )
    imap_security: Literal["tls", "starttls", "plain"] = Field(
        default="tls",
        description="How the connection to the IMAP server is protected; plain is not at all.",
    )
    imap_ca_file: Path | None = Field(
        default=None,
        description="PEM file with the authority of the IMAP server's certificate. Unset: those"
        " that the system trusts.",
    )
    imap_user: str | None = Field(default=None, description="Account on the IMAP server.")
    imap_password: SecretStr | None = Field(
        default=None, description="Password of the account. A file is safer."
    )
    imap_password_file: Path | None = Field(
        default=None, description="File with the password of the account."
    )
    imap_token_file: Path | None = Field(
        default=None,
        description="File with an OAuth2 access token (XOAUTH2), instead of a password; read again"
        " at each login.",
    )
    imap_folders: Annotated[tuple[str, ...], NoDecode] = Field(
        default=("INBOX",), min_length=1, description="Folders to fetch, comma-separated."
    )
    imap_batch: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Most messages that one fetch takes."
    )
    encoder: str = Field(
        default="multilingual-e5-small-tickets",
        min_length=1,
        description="Text encoder: multilingual-e5-small-tickets, which has learnt what support"
        " mails ask for; multilingual-e5-small as it comes; all-minilm-l6-v2 (English); or any"
        " Hugging Face id or folder.",
    )
    encoders_dir: Path | None = Field(
        default=None,
        description="Folder of unpacked and converted encoders, which all desks of a machine share."
        " Unset: in the user's cache folder.",
    )
    encoder_precision: Literal["auto", "int8", "bf16", "fp32"] = Field(
        default="auto",
        description="Number format of the encoder; auto takes the fastest that this CPU computes"
        " natively and that leaves its vectors as they are.",
    )
    encoder_max_tokens: int = Field(
        default=256, ge=16, le=8192, description="Longer texts are cut to this many tokens."
    )
    encoder_dimension: int | None = Field(
        default=None,
        ge=16,
        le=8192,
        description="Keep only this many numbers of each vector, for encoders trained for it"
        " (matryoshka). Unset: all.",
    )
    encoder_batch_tokens: int | None = Field(
        default=None,
        ge=256,
        le=1_000_000,
        description="Tokens per encoder batch, padding included. Unset: 1024 on a CPU, 16384 on a"
        " GPU.",
    )
    encoder_threads: int | None = Field(
        default=None,
        ge=1,
        le=1024,
        description="CPU threads of the encoder, each with a batch of its own. Unset: all cores.",
    )
    allow_download: bool = Field(
        default=False, description="Allow an encoder to be fetched from the Hugging Face hub."
    )
    chroma_url: str | None = Field(
        default=None,
        pattern=r"^https?://[^/:]+(:\d+)?/?$",
        description="Chroma server, like http://chroma:8000. Unset: embedded, in the data folder.",
    )
    chroma_database: str = Field(
        default="default_database",
        pattern=r"^\w[\w.-]{1,61}\w$",
        description="Database on the Chroma server, created when absent. Desks that share a server"
        " need one each.",
    )
    chroma_token: SecretStr | None = Field(
        default=None,
        description="Token that is sent to the Chroma server (Authorization: Bearer), for what"
        " checks it in front. A file is safer.",
    )
    chroma_token_file: Path | None = Field(default=None, description="File with that token.")
    chroma_ca_file: Path | None = Field(
        default=None,
        description="PEM file with the authority of the Chroma server's certificate. Unset: those"
        " that the system trusts.",
    )
    warehouse: SecretStr | None = Field(
        default=None,
        description="DuckLake that several machines share, its catalogue in Postgres, like"
        " ducklake:postgres:host=db dbname=tickets user=tickets. Unset: a DuckDB file in the data"
        " folder.",
    )
    warehouse_password_file: Path | None = Field(
        default=None, description="File with the password of that Postgres user."
    )
    warehouse_data: str | None = Field(
        default=None,
        description="Folder or bucket (s3://bucket/prefix) of the shared warehouse's rows.",
    )
    files: str | None = Field(
        default=None,
        pattern=r"^s3://[a-z0-9][a-z0-9.-]+(/[^/\s]+)*/?$",
        description="Bucket for original mail, models, reports and cursors, like"
        " s3://bucket/prefix. Unset: the data folder.",
    )
    s3_endpoint: str | None = Field(
        default=None,
        pattern=_URL,
        description="Object storage that speaks S3, like http://minio:9000. Unset: Amazon's.",
    )
    s3_region: str | None = Field(
        default=None, description="Region of the buckets. Unset: what the AWS variables say."
    )
    s3_key_id: str | None = Field(
        default=None,
        description="Access key of the object storage. Unset: what the AWS variables or the"
        " machine's role give.",
    )
    s3_secret: SecretStr | None = Field(
        default=None, description="Secret of that access key. A file is safer."
    )
    s3_secret_file: Path | None = Field(
        default=None, description="File with the secret of that access key."
    )
    dagster_postgres: SecretStr | None = Field(
        default=None,
        description="Postgres database of Dagster's runs, events and schedules, like"
        " postgresql://user@host:5432/database. Unset: SQLite, in the data folder.",
    )
    dagster_postgres_password_file: Path | None = Field(
        default=None, description="File with the password of that database's user."
    )
    run_days: int | None = Field(
        default=None,
        ge=1,
        le=3650,
        description="Most days of one run that a backfill or a sensor starts, so that a year is"
        " made by several runs at once where the stores are shared. Unset: one run for all days.",
    )
    target_precision: float = Field(
        default=0.95, gt=0.5, lt=1.0, description="Precision that automatic labels must keep."
    )
    precision_risk: float = Field(
        default=0.1,
        gt=0.0,
        le=0.5,
        description="Risk, for each label, that its automatic tickets miss that precision by chance"
        " of the labelled ones. A smaller one needs more labelled tickets.",
    )
    confidence_floor: float = Field(
        default=0.6,
        ge=0.5,
        le=0.99,
        description="No label is automatic below this calibrated probability, whatever precision"
        " the surer ones keep.",
    )
    shadow_mode: bool = Field(
        default=False,
        description="Decide, count and report as ever, and hand nothing on: every ticket stays in"
        " the review queue.",
    )
    simulation_days: int = Field(
        default=90,
        ge=1,
        le=3650,
        description="Days up to the latest mail on which `tickets simulate` tries other"
        " precisions.",
    )
    minutes_to_sort: float = Field(
        default=2.0,
        ge=0.0,
        le=1440.0,
        description="Minutes that a person needs to sort a ticket, for what `tickets simulate` says"
        " is saved.",
    )
    minutes_per_error: float = Field(
        default=15.0,
        ge=0.0,
        le=14_400.0,
        description="Minutes that a ticket in a wrong queue costs in all, for the same.",
    )
    macro_f1_floor: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="A candidate whose macro-F1 on categories is lower is refused.",
    )
    holdout_share: float = Field(
        default=0.2,
        gt=0.0,
        lt=0.6,
        description="Share of labelled tickets, in the newest wordings, kept aside for evaluation.",
    )
    min_class_tickets: int = Field(
        default=10,
        ge=2,
        le=10_000,
        description="A category or priority with fewer labelled tickets is reported and left out.",
    )
    max_training_tickets: int = Field(
        default=20_000,
        ge=100,
        le=1_000_000,
        description="Most recent labelled tickets that are learnt from; each 10,000 take about half"
        " a gigabyte and a minute.",
    )
    seed: int = Field(default=7, ge=0, le=2**32 - 1, description="Seed of every random choice.")
    neighbours: int = Field(
        default=5, ge=1, le=50, description="Nearest labelled past tickets kept with a prediction."
    )
    rejected_share_limit: float = Field(
        default=0.02,
        ge=0.0,
        le=1.0,
        description="Share of rejected messages above which raw_tickets warns.",
    )
    auto_share_floor: float = Field(
        default=0.2,
        ge=0.0,
        le=1.0,
        description="Share of automatic decisions below which ticket_predictions warns.",
    )
    audit_share: float = Field(
        default=0.02,
        ge=0.0,
        le=0.5,
        description="Share of automatic tickets that go to a person all the same, chosen by chance,"
        " so that it is known how many of them are right. None while nobody has labelled a ticket"
        " for 30 days.",
    )
    drift_min_tickets: int = Field(
        default=50,
        ge=1,
        le=100_000,
        description="A day's drift window reaches back until it holds this many tickets.",
    )
    drift_distances: Annotated[dict[str, float], NoDecode] = Field(
        default=dict(DRIFT_DISTANCES),
        validate_default=False,
        description="Smallest distances to the training reference that count as drift, by metric,"
        " as in language=0.2,embedding=0.05; those not named keep their defaults. Each is raised to"
        " what same-sized samples of the reference show by chance.",
    )
    freshness: str = Field(
        default="default=1d,ticket_predictions=6h,ticket_labels=3w,candidate_classifier=3w,"
        "suspected_label_errors=3w,ticket_classifier=3w",
        description="Longest time for which an asset is not made anew, in m, h, d or w; then it is"
        " late. Each asset may have its own; default is that of the others.",
    )
    predict_again_days: int = Field(
        default=7,
        ge=1,
        le=3650,
        description="Last days that are predicted anew by themselves after another model has become"
        " the champion; `tickets run` does the rest.",
    )
    late_after_minutes: int = Field(
        default=60,
        ge=1,
        le=100_000,
        description="Minutes after which landed mail without a prediction is late.",
    )
    retrain_min_labels: int = Field(
        default=200,
        ge=1,
        le=1_000_000,
        description="New labels without which drift trains no new model.",
    )
    retrain_labels: int = Field(
        default=1000,
        ge=1,
        le=1_000_000,
        description="New labels that train a new model without drift as well.",
    )
    retrain_pause_hours: float = Field(
        default=24.0,
        ge=0.0,
        le=8760.0,
        description="Hours after a training in which drift and labels train no new model.",
    )
    reports_url: str = Field(
        default="http://127.0.0.1:3001",
        pattern=_URL,
        description="Address at which a browser finds the drift reports; where it is of this"
        " machine, `tickets dev` serves them there.",
    )
    evidently_url: str = Field(
        default="http://127.0.0.1:3002",
        pattern=_URL,
        description="Address at which a browser finds Evidently's UI, which `tickets evidently`"
        " serves: on that port, where it is of this machine.",
    )
    drift_html_days: int = Field(
        default=30, ge=1, le=3650, description="Days for which drift reports are kept as HTML."
    )
    ui_url: str = Field(
        default="http://127.0.0.1:3000",
        pattern=_URL,
        description="Address at which a browser finds Dagster's UI; alerts lead there.",
    )
    alert_webhook: SecretStr | None = Field(
        default=None,
        description="Address that alerts are posted to as JSON, as Slack and Mattermost take them."
        " Unset: none.",
    )
    alert_mail_to: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        default=None,
        description="Addresses that alerts are mailed to, comma-separated. Unset: none.",
    )
    alert_mail_from: str | None = Field(
        default=None, description="Sender of the alerts. Unset: the first of those who get them."
    )
    smtp_host: str | None = Field(
        default=None, description="Mail server that sends the alerts. Unset: none."
    )
    smtp_port: int | None = Field(
        default=None,
        ge=1,
        le=65535,
        description="Port of the mail server. Unset: the usual one of its security.",
    )
    smtp_security: Literal["tls", "starttls", "plain"] = Field(
        default="tls",
        description="How the connection to the mail server is protected; plain is not at all.",
    )
    smtp_ca_file: Path | None = Field(
        default=None,
        description="PEM file with the authority of the mail server's certificate. Unset: those"
        " that the system trusts.",
    )
    smtp_user: str | None = Field(
        default=None, description="Account on the mail server. Unset: it wants none."
    )
    smtp_password_file: Path | None = Field(
        default=None, description="File with the password of that account."
    )
    delivery_folder: Path | None = Field(
        default=None,
        description="Folder, of this desk alone, into which each run puts a file with what it has"
        " decided. Unset: none.",
    )
    delivery_format: Literal["csv", "jsonl"] = Field(
        default="csv", description="Format of these files."
    )
    delivery_webhook: str | None = Field(
        default=None,
        pattern=_URL,
        description="Address that each decision is posted to, signed as Standard Webhooks are."
        " Unset: none.",
    )
    delivery_webhook_secret_file: Path | None = Field(
        default=None,
        description="File with the secret of these signatures, like whsec_ and 24 to 64 bytes in"
        " Base64.",
    )
    delivery_webhook_ca_file: Path | None = Field(
        default=None,
        description="PEM file with the authority of that address's certificate. Unset: those that"
        " the system trusts.",
    )
    delivery_reviews: bool = Field(
        default=True,
        description="Deliver also that a person has to decide a ticket, with its likeliest"
        " categories.",
    )
    glpi_url: str | None = Field(
        default=None,
        pattern=_URL,
        description="REST API of a GLPI whose tickets get what is decided, like"
        " https://glpi.example.org/apirest.php. Unset: none.",
    )
    glpi_user_token_file: Path | None = Field(
        default=None,
        description="File with the API token of a user that this desk has in it alone.",
    )
    glpi_app_token_file: Path | None = Field(
        default=None, description="File with the token of the API client, where GLPI wants one."
    )
    glpi_ca_file: Path | None = Field(
        default=None,
        description="PEM file with the authority of its certificate. Unset: those that the system"
        " trusts.",
    )
    zammad_url: str | None = Field(
        default=None,
        pattern=_URL,
        description="Zammad whose tickets get what is decided, like https://zammad.example.org."
        " Unset: none.",
    )
    zammad_token_file: Path | None = Field(
        default=None,
        description="File with the access token of an account that this desk has in it alone.",
    )
    zammad_ca_file: Path | None = Field(
        default=None,
        description="PEM file with the authority of its certificate. Unset: those that the system"
        " trusts.",
    )
    keep_runs_days: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="Days for which ended runs are kept, with their logs; those that hold the"
        " latest state of an asset's day stay.",
    )
    keep_models: int = Field(
        default=10,
        ge=1,
        le=10_000,
        description="Newest models that are kept beside the champion, the former champions and the"
        " candidate.",
    )

    @field_validator("languages", "phone_regions", "imap_folders", "alert_mail_to", mode="before")
    @classmethod
    def _split_commas(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("export_columns")
    @classmethod
    def _known_fields(cls, value: str | None) -> str | None:
        _columns(value or "")
        return value

    @field_validator("freshness")
    @classmethod
    def _known_windows(cls, value: str) -> str:
        _windows(value)
        return value

    @field_validator("alert_webhook")
    @classmethod
    def _is_url(cls, value: SecretStr | None) -> SecretStr | None:
        url = value.get_secret_value() if value else ""
        if url and not (re.fullmatch(_URL, url) and url.isascii() and url.isprintable()):
            raise ValueError("it is not like https://host/path")
        return value

    @field_validator("warehouse")
    @classmethod
    def _is_lake(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not value.get_secret_value().startswith(LAKE):
            raise ValueError(f"it is not like {LAKE}host=db dbname=tickets")
        return value

    @field_validator("drift_distances", mode="before")
    @classmethod
    def _drift_metrics(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = dict(pair.split("=", 1) for pair in value.split(",") if "=" in pair)
        distances = {name.strip(): distance for name, distance in pairs.items()}
        if len(distances) < len(value.split(",")) or distances.keys() - DRIFT_DISTANCES.keys():
            raise ValueError(
                f"a metric and a distance each, as in language=0.2, of {', '.join(DRIFT_DISTANCES)}"
            )
        return DRIFT_DISTANCES | distances

    @field_validator("languages")
    @classmethod
    def _known_languages(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = sorted(path.stem for path in _LANGUAGES.glob("??.yaml"))
        for language in value:
            if language not in known:
                raise ValueError(f"{language!r} is not one of {', '.join(known)}")
        return value

    @field_validator("phone_regions")
    @classmethod
    def _known_regions(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        from phonenumbers import SUPPORTED_REGIONS

        value = tuple(region.upper() for region in value)
        for region in value:
            if region not in SUPPORTED_REGIONS:
                raise ValueError(f"{region!r} is not a country's two-letter code, as in FR")
        return value

    @field_validator(
        "data_dir",
        "encoders_dir",
        "routing",
        "drop_folder",
        "maildir",
        "chroma_ca_file",
        "chroma_token_file",
        "dagster_postgres_password_file",
        "delivery_folder",
        "delivery_webhook_ca_file",
        "delivery_webhook_secret_file",
        "glpi_app_token_file",
        "glpi_ca_file",
        "glpi_user_token_file",
        "imap_ca_file",
        "imap_password_file",
        "imap_token_file",
        "smtp_ca_file",
        "smtp_password_file",
        "s3_secret_file",
        "warehouse_password_file",
        "zammad_ca_file",
        "zammad_token_file",
    )
    @classmethod
    def _expand_home(cls, value: Path | None) -> Path | None:
        # A shell expands ~ in a variable, but not in `.env`.
        try:
            return value.expanduser() if value else value
        except RuntimeError:
            raise ValueError("there is no such user's home folder") from None

    def secret(self, name: str) -> str | None:
        """The secret setting `name`, or what its file holds; None where neither is set.

        Raises:
            SettingsError: both are set, or the file cannot be read.
        """
        value, file = getattr(self, name, None), getattr(self, f"{name}_file")
        variable = variable_of(name)
        if value and file:
            raise SettingsError(f"Set one of {variable} and {variable}_FILE, not both.")
        if not file:
            return value.get_secret_value() if value else None
        try:
            # Of a line, whose ends alone are not the secret's own, nor is the mark with which
            # editors of Windows begin a file.
            return str(file.read_text(encoding="utf-8-sig").strip("\r\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise SettingsError(
                f"Cannot read {variable}_FILE={file}: {error}. Name a file that holds the secret"
                " alone."
            ) from None

    @property
    def column_mapping(self) -> dict[str, str]:
        """The column of each field that `export_columns` names."""
        return _columns(self.export_columns or "")

    @property
    def freshness_windows(self) -> dict[str, timedelta]:
        """The longest time without a materialisation, by asset; that of the others is "default"."""
        return {
            **_windows(type(self).model_fields["freshness"].default),
            **_windows(self.freshness),
        }

    @property
    def warehouse_path(self) -> Path:
        return self.data_dir / "warehouse.duckdb"

    @property
    def collection_dir(self) -> Path:
        return self.data_dir / "collection"

    @property
    def unpacked_encoders_dir(self) -> Path:
        return self.encoders_dir or platformdirs.user_cache_path("ticket-assets") / "encoders"


def _windows(pairs: str) -> dict[str, timedelta]:
    """The duration of each name in `default=1d,ticket_predictions=6h`."""
    windows = {}
    for pair in pairs.split(","):
        window = _WINDOW.fullmatch(pair.strip())
        if not window:
            raise ValueError(f"{pair.strip()!r} is not like ticket_predictions=6h or default=1d")
        name, number, unit = window.groups()
        windows[name] = timedelta(**{_UNITS[unit]: int(number)})
        if windows[name] < timedelta(minutes=1):
            raise ValueError(f"{name} is less than 1m, which Dagster cannot watch")
    return windows


def _columns(pairs: str) -> dict[str, str]:
    """The column of each field in `body=Details,category=Team`."""
    mapping: dict[str, str] = {}
    # A column's name may hold commas and equals signs: only a comma before FIELD= separates.
    for pair in re.split(r",(?=\s*\w+\s*=)", pairs) if pairs else ():
        field, _, column = (part.strip() for part in pair.partition("="))
        if field not in EXPORT_FIELDS:
            raise ValueError(
                f"{field!r} is not a field of a ticket, which are {', '.join(EXPORT_FIELDS)}"
            )
        if not column or field in mapping:
            raise ValueError(f"{field} needs one column, as in {field}=Details")
        mapping[field] = column
    return mapping


_changes: dict[str, Any] = {}


@functools.cache
def load_settings() -> Settings:
    """The settings of this process, with the changes of `use_settings`.

    Raises:
        SettingsError: a value is not allowed, and the message names the variable, the value and
            what is allowed; a variable is no setting, and the message names the most similar one;
            or `.env` cannot be read.
    """
    try:
        _refuse_unknown_variables()
        return Settings().model_copy(update=_changes)
    except ValidationError as error:
        raise SettingsError(_explain(error)) from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"Cannot read .env: it is not UTF-8 ({error}). Save it so.") from None
    except OSError as error:
        raise SettingsError(f"Cannot read .env: {error.strerror}.") from None


def use_settings(**changes: Any) -> Settings:
    """The settings with these changes, which `load_settings` has from now on in this process.

    What has read them before does not change: the graph does so when it is imported.
    """
    _changes.update(changes)
    load_settings.cache_clear()
    return load_settings()


def variable_of(field: str) -> str:
    """The variable that a setting is read from."""
    return f"{PREFIX}{field}".upper()


def child_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child process with only these settings (by field), and with the Dagster
    home of its own data folder."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith((PREFIX, "DAGSTER_HOME"))
    }
    return inherited | {variable_of(field): value for field, value in settings.items()}


def _refuse_unknown_variables() -> None:
    """Refuses misspelt variables, which would silently leave their settings at the defaults."""
    settings = {f"{PREFIX}{field}".lower() for field in Settings.model_fields}
    # `.env` first: Dagster copies its lines to the environment.
    sources = {
        ".env": DotEnvSettingsSource(Settings),
        "the environment": EnvSettingsSource(Settings),
    }
    for source_name, source in sources.items():
        for variable in sorted(source.env_vars):
            name = variable.lower()
            if name in settings or not name.startswith(PREFIX.lower()):
                continue
            if _SERVICE_LINK.fullmatch(name):
                continue
            similar = difflib.get_close_matches(name, settings, n=1, cutoff=0.7)
            hint = f"; {similar[0].upper()} is" if similar else ""
            raise SettingsError(
                f"{name.upper()} in {source_name} is not a setting{hint}. `.env.example` lists them"
                " all."
            )


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        field = str(problem["loc"][0])
        variable = variable_of(field)
        description = Settings.model_fields[field].description
        reason = problem["msg"].removeprefix("Value error, ")
        value = problem["input"]
        if SecretStr in get_args(Settings.model_fields[field].annotation):
            value = "…"  # the message is shown and logged
        if isinstance(value, tuple):  # as its variable has it
            value = ",".join(map(str, value))
        if isinstance(value, str):
            value = _USER_INFO.sub("…@", value)
        lines.append(f"{variable}={value!r} is not allowed: {reason}. {description}")
    return "; ".join(lines)
