"""The tickets and options of a training, and the fingerprint that identifies both."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import pandas as pd
import sklearn

from ticket_assets.classification.features import Floats
from ticket_assets.classification.prediction import TARGETS
from ticket_assets.errors import TicketAssetsError
from ticket_assets.settings import Settings
from ticket_assets.text.same_text import template_hash

CODE_VERSION = 8
"""Raise it when the same tickets and options would give another model."""
LEAST_WORDINGS = 10
"""With fewer, one is too much of the evidence: no ticket of the label is automatic."""
IMPORT_HINT = "Import the desk's past tickets with their labels, or correct more predictions."


class NotEnoughLabels(TicketAssetsError):  # noqa: N818 - named for what the person lacks
    """There are too few labelled tickets to train on."""


class MixedEncodersError(TicketAssetsError):
    """The vectors of the tickets come from several encoders and cannot be compared."""


@dataclass(frozen=True)
class TrainingSet:
    """Labelled tickets and their vectors, row by row.

    `tickets`: ticket_id, received_at, text, tokens, language, category, priority (labels may be
    null per row). `vectors`: float32, shape (rows, d), from the encoder named `encoder`.
    """

    tickets: pd.DataFrame
    vectors: Floats
    encoder: str
    older_rows: int = 0
    """Labelled tickets before these, which are not read since more recent ones suffice."""


@dataclass(frozen=True)
class TrainingOptions:
    seed: int = 7
    target_precision: float = 0.95
    precision_risk: float = 0.1
    confidence_floor: float = 0.6
    least_sure_share: float = 0.05
    """Of what would be automatic out of fold; a person looks at it all the same.

    A threshold keeps the precision of all that it lets through, and the surest carry the others: of
    generated French tickets in new wordings the least sure tenth was right in 75 % without this, in
    84 % at 0.03, in 88 % at 0.05. Tickets of a category that nobody has labelled yet are mostly
    there too. What each share costs is in docs/thresholds.md."""
    holdout_share: float = 0.2
    min_class_tickets: int = 10
    max_tickets: int = 20_000
    """Only the most recent are learnt from: time and memory grow with them, scores hardly do. From
    5,000 to 11,000 tickets of a desk its macro-F1 rose by 0.006; each 10,000 took 0.4 GB."""
    folds: int = 5
    priorities: tuple[str, ...] = ()
    """Priorities from least to most urgent: the order of tables. Others follow by name."""


def training_options(settings: Settings, priorities: Sequence[str]) -> TrainingOptions:
    """The options in the settings; `priorities` from least to most urgent."""
    return TrainingOptions(
        seed=settings.seed,
        target_precision=settings.target_precision,
        precision_risk=settings.precision_risk,
        confidence_floor=settings.confidence_floor,
        holdout_share=settings.holdout_share,
        min_class_tickets=settings.min_class_tickets,
        max_tickets=settings.max_training_tickets,
        priorities=tuple(priorities),
    )


def fingerprint(training_set: TrainingSet, options: TrainingOptions) -> str:
    """SHA-256 (hex) of everything that decides the model: equal fingerprints mean equal models.

    Of older tickets than the model learns from, their number is in it, as it is in the evaluation.

    Vectors are not read: the encoder's name and the texts stand for them.
    """
    content = {
        "code": CODE_VERSION,
        "sklearn": sklearn.__version__,
        "encoder": training_set.encoder,
        **asdict(options),
    }
    tickets = in_order_of_time(training_set.tickets).tail(options.max_tickets)
    older = training_set.older_rows + len(training_set.tickets) - len(tickets)
    if older:
        content["older_rows"] = older
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
    columns = ["ticket_id", "received_at", "text", "tokens", "language", *TARGETS]
    for row in tickets[columns].itertuples(index=False, name=None):
        values = [None if pd.isna(value) else str(value) for value in row]
        digest.update(json.dumps(values, ensure_ascii=False).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def text_groups(texts: Sequence[str], tokens: Sequence[str]) -> list[str]:
    """Per ticket the hash of its template, equal for texts but for numbers and word order."""
    return list(map(template_hash, texts, tokens))


def in_order_of_time(tickets: pd.DataFrame) -> pd.DataFrame:
    # The id breaks ties, so that the order of the input never matters.
    return tickets.sort_values(["received_at", "ticket_id"], kind="stable")
