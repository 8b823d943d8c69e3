"""The warehouse's tables, declared once: columns, types and descriptions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ticket_assets.errors import TicketAssetsError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SCHEMA = "tickets"
VECTOR = "FLOAT[]"
"""Type of a vector column; the first vectors decide its length."""
_PANDAS_TYPES = {
    "VARCHAR": "object",
    "TIMESTAMP": "datetime64[us]",
    "BIGINT": "int64",
    "DOUBLE": "float64",
    "BOOLEAN": "bool",
}
_ARROW_TYPES = {"VARCHAR": "string", "TIMESTAMP": "timestamp[us]"}


class TableError(TicketAssetsError):
    """Rows do not have the columns that their table declares."""


@dataclass(frozen=True)
class Column:
    """A column with its DuckDB type."""

    name: str
    type: str
    description: str


@dataclass(frozen=True)
class Table:
    """A table of the warehouse and, if it has partitions, the column with the day."""

    name: str
    columns: tuple[Column, ...]
    partition_column: str | None = "received_at"

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def frame(
        self, rows: Sequence[Mapping[str, Any]], without: Collection[str] = ()
    ) -> pd.DataFrame:
        """`rows` with the declared columns and types, except for those in `without`."""
        import pandas as pd  # the processes that parse and clean mail do without

        # By column: pandas would turn None into NaN in rows without a string.
        return pd.DataFrame(
            {
                column.name: pd.Series(
                    [row[column.name] for row in rows], dtype=_PANDAS_TYPES[column.type]
                )
                for column in self.columns
                if column.name not in without
            }
        )

    def arrow_schema(self, vector_length: int) -> pa.Schema:
        """The Arrow schema of a table of texts, times and vectors."""
        import pyarrow as pa

        vector = pa.list_(pa.float32(), vector_length)
        return pa.schema(
            [
                pa.field(
                    column.name, vector if column.type == VECTOR else _ARROW_TYPES[column.type]
                )
                for column in self.columns
            ]
        )

    def require_columns(self, columns: Iterable[str]) -> None:
        """Check that `columns` are the declared ones, in any order.

        Raises:
            TableError: a column is missing or is not declared.
        """
        names = set(columns)
        missing = [name for name in self.column_names if name not in names]
        unknown = sorted(names - set(self.column_names))
        if missing or unknown:
            raise TableError(
                f"Rows for table {SCHEMA}.{self.name} do not fit: missing columns {missing},"
                f" undeclared columns {unknown}. They are declared in storage/tables.py."
            )


@dataclass(frozen=True)
class Change:
    """What an erasure changes in a table, as SQL on its columns."""

    removed: str = "false"
    """Condition of the rows that go."""
    replaced: Mapping[str, str] = field(default_factory=dict)
    """The new value of a column, in the rows that stay."""


def _table(
    name: str,
    columns: Mapping[str, tuple[str, str]],
    partition_column: str | None = "received_at",
) -> Table:
    return Table(
        name,
        tuple(Column(column, *definition) for column, definition in columns.items()),
        partition_column,
    )


TICKET_ID = ("VARCHAR", "First 20 hexadecimal characters of the SHA-256 of the landed bytes")
RECEIVED_AT = ("TIMESTAMP", "When the message was received (UTC)")
MODEL_VERSION = ("VARCHAR", "Version of the champion model")

TABLES = {
    table.name: table
    for table in (
        _table(
            "raw_tickets",
            {
                "ticket_id": TICKET_ID,
                "message_id": ("VARCHAR", "Message-ID header"),
                "in_reply_to": ("VARCHAR", "Message-ID of the message this one answers"),
                "thread_id": (
                    "VARCHAR",
                    "First message of the conversation: its Message-ID, else its ticket_id",
                ),
                "reference": (
                    "VARCHAR",
                    "Oldest message of the conversation that the message names, else its own"
                    " Message-ID",
                ),
                "received_at": RECEIVED_AT,
                "received_at_source": (
                    "VARCHAR",
                    "Where received_at comes from: date, received, landed or export",
                ),
                "sender": ("VARCHAR", "Address of the sender"),
                "sender_name": ("VARCHAR", "Name of the sender as the message gives it"),
                "recipients": ("VARCHAR", "Addresses the message was sent to, as a JSON list"),
                "subject": ("VARCHAR", "Decoded subject"),
                "body_text": ("VARCHAR", "Plain-text body, whole"),
                "body_html": ("VARCHAR", "HTML body, whole"),
                "attachments": ("VARCHAR", "File names of the attachments, as a JSON list"),
                "kind": ("VARCHAR", "request, auto_reply, bounce or list"),
                "source": ("VARCHAR", "Where the message was landed from"),
                "size_bytes": ("BIGINT", "Size of the landed message in bytes"),
            },
        ),
        _table(
            "rejected_messages",
            {
                "content_hash": ("VARCHAR", "SHA-256 of the landed bytes"),
                "received_at": RECEIVED_AT,
                "source": ("VARCHAR", "Where the message was landed from"),
                "reason": ("VARCHAR", "Why no ticket could be made of it"),
                "size_bytes": ("BIGINT", "Size of the landed message in bytes"),
                "path": ("VARCHAR", "Where its bytes are kept, relative to the landing zone"),
            },
        ),
        _table(
            "clean_tickets",
            {
                "ticket_id": TICKET_ID,
                "received_at": RECEIVED_AT,
                "language": ("VARCHAR", "Language of the text, ISO 639-1"),
                "subject": ("VARCHAR", "Masked subject without reply and forward prefixes"),
                "text": ("VARCHAR", "Masked subject and own words of the requester"),
                "tokens": ("VARCHAR", "Lower-case words without stopwords, separated by spaces"),
                "text_hash": ("VARCHAR", "SHA-256 of text"),
                "token_count": ("BIGINT", "Number of tokens"),
                "character_count": ("BIGINT", "Number of characters of text"),
                "masked": ("VARCHAR", "Personal data masked, as JSON: kind to count"),
                "duplicate_of": ("VARCHAR", "First ticket that says the same; null if none does"),
            },
        ),
        _table(
            "ticket_labels",
            {
                "ticket_id": TICKET_ID,
                "category": ("VARCHAR", "Category that a person gave"),
                "priority": ("VARCHAR", "Priority that a person gave"),
                "labelled_at": ("TIMESTAMP", "When the latest label was given (UTC)"),
                "labelled_by": ("VARCHAR", "Who or what export gave the latest label"),
            },
            partition_column=None,
        ),
        _table(
            "ticket_embeddings",
            {
                "ticket_id": TICKET_ID,
                "received_at": RECEIVED_AT,
                "text_hash": ("VARCHAR", "SHA-256 of the encoded text"),
                "model": ("VARCHAR", "Encoder, its revision, precision and maximum length"),
                "vector": (VECTOR, "Embedding of unit length"),
            },
        ),
        _table(
            "ticket_predictions",
            {
                "ticket_id": TICKET_ID,
                "received_at": RECEIVED_AT,
                "category": ("VARCHAR", "Category that holds: decided_by says whose"),
                "decision": (
                    "VARCHAR",
                    "labelled where a person gave the category; auto where the model is sure of it"
                    " and the ticket like those that were learnt, or the first ticket of the"
                    " conversation was decided; else review",
                ),
                "decided_by": (
                    "VARCHAR",
                    "Who decided the category: person, model, or conversation: the first ticket's"
                    " of a reply that is not sure by itself",
                ),
                "queue": ("VARCHAR", "Queue of the category, the review queue where none is sure"),
                "priority": ("VARCHAR", "Priority that holds: a person's, else the model's"),
                "priority_decision": ("VARCHAR", "auto, review or labelled, of the priority"),
                "model_category": (
                    "VARCHAR",
                    "Likeliest category, whatever people said; out of fold where the model has"
                    " learnt from the ticket",
                ),
                "category_confidence": ("DOUBLE", "Calibrated probability of model_category"),
                "model_decision": ("VARCHAR", "auto or review, whatever people said"),
                "model_priority": ("VARCHAR", "Likeliest priority, whatever people said"),
                "priority_confidence": ("DOUBLE", "Calibrated probability of model_priority"),
                "model_priority_decision": ("VARCHAR", "auto or review, of model_priority"),
                "review_reason": (
                    "VARCHAR",
                    "Why a person has to look. Where model_decision is review: unsure,"
                    " always_reviewed (too few or mistaken past labels), unlike_learnt,"
                    " unknown_words, repeated_text or language_not_learnt; where it is auto: audit,"
                    " chosen by chance, or suspended, the label broke its promise",
                ),
                "likely": (
                    "VARCHAR",
                    "The one to three categories that hold the right one in 95 % of the cases, as"
                    " JSON, the likeliest first; where model_decision is review, unless it takes"
                    " more. Of audits and suspended labels the two likeliest",
                ),
                "terms": (
                    "VARCHAR",
                    "Words that weighed most for model_category as JSON, [word, weight] each, the"
                    " strongest first; where model_decision is review",
                ),
                "nearest": ("VARCHAR", "Nearest labelled past tickets as JSON, nearest first"),
                "former_category": (
                    "VARCHAR",
                    "Category that held before a person gave one; null without a person's label, or"
                    " where it was there before the first decision",
                ),
                "former_decision": (
                    "VARCHAR",
                    "What was decided before that: auto, review, audit or suspended",
                ),
                "former_model_version": (
                    "VARCHAR",
                    "The champion that had decided it; null also of an audit that counts for no"
                    " promise any more",
                ),
                "model_version": MODEL_VERSION,
            },
        ),
        _table(
            "suspended_labels",
            {
                "label": ("VARCHAR", "Category that broke its promise"),
                "tripped_at": ("TIMESTAMP", "When it was taken off automatic (UTC)"),
                "evidence": ("DOUBLE", "Value of the e-detector then"),
                "audits": ("BIGINT", "Audits that it was made of"),
                "errors": ("BIGINT", "Those of them where the person said another category"),
                "model_version": ("VARCHAR", "The champion then"),
                "reset_at": ("TIMESTAMP", "When it became automatic again (UTC); null before"),
                "reset_by": ("VARCHAR", "person or promotion; null before"),
            },
            partition_column=None,
        ),
        _table(
            "review_queue",
            {
                "rank": ("BIGINT", "1 is the most useful to label first"),
                "ticket_id": TICKET_ID,
                "received_at": RECEIVED_AT,
                "language": ("VARCHAR", "Language of the text, ISO 639-1"),
                "reason": ("VARCHAR", "Why a person has to look; audits are among the unsure"),
                "likely": (
                    "VARCHAR",
                    "Likely categories as JSON, the likeliest first; may be null",
                ),
            },
            partition_column=None,
        ),
        _table(
            "threshold_simulation",
            {
                "target_precision": (
                    "DOUBLE",
                    "Precision that automatic labels would have to keep",
                ),
                "is_present": ("BOOLEAN", "Whether it is the target in use"),
                "label": ("VARCHAR", "Likeliest category of the tickets; null of all together"),
                "tickets": ("BIGINT", "Tickets of the simulated days"),
                "share": ("DOUBLE", "Share of automatic tickets, of the 30 days that follow"),
                "share_low": ("DOUBLE", "Lower end of its 90 % interval"),
                "share_high": ("DOUBLE", "Upper end of its 90 % interval"),
                "precision": (
                    "DOUBLE",
                    "Share of those that will be right; null where the evidence does not suffice",
                ),
                "precision_low": ("DOUBLE", "Lower end of its 90 % interval"),
                "precision_high": ("DOUBLE", "Upper end of its 90 % interval"),
                "minutes_saved": ("DOUBLE", "Minutes of sorting by hand saved in 30 days"),
                "minutes_of_errors": ("DOUBLE", "Minutes that the errors cost in 30 days"),
                "automatic": (
                    "BIGINT",
                    "Tickets without a person's label that would have been automatic",
                ),
                "to_automatic": ("BIGINT", "Those of them that are for a person now"),
                "to_review": (
                    "BIGINT",
                    "Tickets that are automatic now and would have been for a person",
                ),
                "first_day": ("TIMESTAMP", "First of the simulated days, at 00:00 UTC"),
                "last_day": ("TIMESTAMP", "Last of the simulated days, at 00:00 UTC"),
                "model_version": MODEL_VERSION,
            },
            partition_column=None,
        ),
        _table(
            "delivered_tickets",
            {
                "ticket_id": TICKET_ID,
                "received_at": RECEIVED_AT,
                "receiver": ("VARCHAR", "Who is told the decision"),
                "key": ("VARCHAR", "Idempotency key: a UUID of desk, receiver and ticket"),
                "batch": ("VARCHAR", "What was first told together"),
                "message_id": ("VARCHAR", "Message-ID header of the ticket"),
                "category": ("VARCHAR", "Category told; null where a person has to decide"),
                "category_confidence": ("DOUBLE", "Probability told"),
                "priority": ("VARCHAR", "Priority told; null where a person has to decide"),
                "priority_confidence": ("DOUBLE", "Probability told"),
                "queue": ("VARCHAR", "Queue told"),
                "decision": ("VARCHAR", "auto or review, as told"),
                "decided_by": ("VARCHAR", "model or conversation, as told"),
                "review_reason": ("VARCHAR", "Why it was for a person, as told"),
                "likely": ("VARCHAR", "Likeliest categories told with a review, as JSON"),
                "model_version": MODEL_VERSION,
                "intended_at": ("TIMESTAMP", "When it was first about to be told (UTC)"),
                "outcome": (
                    "VARCHAR",
                    "sending: it may have arrived; delivered or already_there: it has; taken: a"
                    " person had set a value there; labelled: a person labelled it here before;"
                    " unknown or failed: it is told again; refused: it is not",
                ),
                "outcome_at": ("TIMESTAMP", "When that was known (UTC)"),
                "reason": ("VARCHAR", "Why it is not delivered"),
                "reference": ("VARCHAR", "The ticket's id in the receiver's system"),
                "tries": ("BIGINT", "How often it was about to be told"),
                "next_try_at": ("TIMESTAMP", "Not told again before (UTC)"),
            },
        ),
        _table(
            "suspected_label_errors",
            {
                "ticket_id": TICKET_ID,
                "received_at": RECEIVED_AT,
                "target": ("VARCHAR", "category or priority"),
                "given": ("VARCHAR", "Label that the training read"),
                "predicted": ("VARCHAR", "What a model that had not learnt from the ticket says"),
                "confidence": ("DOUBLE", "Calibrated probability of the predicted label"),
                "labelled_by": ("VARCHAR", "Who or what export gave the latest label"),
                "rank": ("BIGINT", "1 is the most suspect of its target"),
                "model_version": ("VARCHAR", "Version of the candidate model"),
            },
            partition_column=None,
        ),
        _table(
            "drift_metrics",
            {
                "received_at": ("TIMESTAMP", "The day, at 00:00 UTC"),
                "metric": ("VARCHAR", "What was compared"),
                "method": ("VARCHAR", "Distance used"),
                "distance": ("DOUBLE", "Distance between the day and the training reference"),
                "threshold": ("DOUBLE", "Distance from which it counts as drift"),
                "drifted": ("BOOLEAN", "Whether the distance reaches the threshold"),
                "reference_rows": ("BIGINT", "Tickets in the reference"),
                "current_rows": ("BIGINT", "Tickets in the current window"),
                "window_days": ("BIGINT", "Days the current window reaches back"),
                "model_version": MODEL_VERSION,
            },
        ),
    )
}

DAY_TABLES = {
    "day_origins": "table_name VARCHAR, day DATE, landed VARCHAR, recipe VARCHAR,"
    " model_version VARCHAR, links VARCHAR",
    "day_links": "day DATE, change VARCHAR",
}
"""What storage/day_origins.py keeps of the days beside the tables."""
