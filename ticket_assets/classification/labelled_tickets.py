"""Reads the labelled tickets of the warehouse for the training, and rows of doubted labels."""

from __future__ import annotations

import pandas as pd

from ticket_assets.classification.training_set import (
    MixedEncodersError,
    NotEnoughLabels,
    TrainingSet,
)
from ticket_assets.storage.vectors import to_matrix
from ticket_assets.storage.warehouse import Warehouse


def labelled_tickets(warehouse: Warehouse, most: int) -> TrainingSet:
    """The tickets with a category or a priority, their texts and vectors.

    Args:
        most: only so many are read, the most recent ones: a hundred thousand texts with their
            vectors take 0.4 GB, beside what the training needs.

    Raises:
        NotEnoughLabels: no ticket has a label.
        MixedEncodersError: the encoder was changed, and not all days are encoded with it yet.
        WarehouseError: a table has not been materialised yet.
    """
    labelled = warehouse.frame(
        "select ticket_id, e.model from ticket_labels join clean_tickets c using (ticket_id)"
        " join ticket_embeddings e using (ticket_id) order by c.received_at, ticket_id"
    )
    if labelled.empty:
        raise NotEnoughLabels(
            "No ticket has a label yet. Import mail with labels: tickets import PATH --labels FILE,"
            " or an export that has a category column."
        )
    encoders = sorted(labelled["model"].unique())
    if len(encoders) > 1:
        raise MixedEncodersError(
            f"The labelled tickets have vectors of several encoders ({', '.join(encoders)})."
            " Materialise ticket_embeddings for all days with the present one."
        )
    recent = labelled.tail(most)
    rows = warehouse.arrow(
        "select c.ticket_id, c.received_at, c.text, c.tokens, c.language, l.category, l.priority,"
        " e.vector from recent join ticket_labels l using (ticket_id)"
        " join clean_tickets c using (ticket_id) join ticket_embeddings e using (ticket_id)"
        " order by c.received_at, c.ticket_id",
        frames={"recent": recent},
    )
    return TrainingSet(
        tickets=rows.drop_columns(["vector"]).to_pandas(),
        vectors=to_matrix(rows["vector"]),
        encoder=encoders[0],
        older_rows=len(labelled) - len(recent),
    )


def suspect_rows(warehouse: Warehouse, suspects: pd.DataFrame, version: str) -> pd.DataFrame:
    """The rows of suspected_label_errors: `TrainedClassifier.label_errors` with who gave each."""
    return warehouse.frame(
        "select s.ticket_id, c.received_at, s.target, s.given, s.predicted, s.confidence,"
        " l.labelled_by, s.rank, ? as model_version from suspects s"
        # Without the casts an empty frame, which has no types, could not be joined.
        " left join clean_tickets c on c.ticket_id = s.ticket_id::varchar"
        " left join ticket_labels l on l.ticket_id = s.ticket_id::varchar"
        " order by s.target, s.rank",
        [version],
        frames={"suspects": suspects},
    )
