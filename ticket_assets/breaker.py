"""The circuit breaker: labels whose audits show a broken promise are taken off automatic.

A person or another champion puts them back. Nothing of what was decided before changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from ticket_assets.classification.decisions import AUDIT
from ticket_assets.classification.e_detector import THRESHOLD, detector
from ticket_assets.errors import TicketAssetsError
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.warehouse import Warehouse, ensure_table

if TYPE_CHECKING:
    from datetime import datetime

    import duckdb

_TABLE = f"{SCHEMA}.suspended_labels"
# In the order of the answers: a later look then adds to what an earlier one has seen. What another
# champion had decided is no evidence of what the present one promises.
_OUTCOMES = f"""
select former_category, p.category <> former_category
from {SCHEMA}.ticket_predictions p join {SCHEMA}.ticket_labels l using (ticket_id)
left join {_TABLE} s on s.label = former_category
where former_decision = '{AUDIT}' and former_model_version = ?
    and (s.reset_by is distinct from 'person' or l.labelled_at > s.reset_at)
order by former_category, l.labelled_at, ticket_id
"""  # noqa: S608 - our own names


class BreakerError(TicketAssetsError):
    """There is no such suspended label."""


@dataclass(frozen=True)
class LabelEvidence:
    """What the audits of a label say; of a suspended one what they said when it was suspended."""

    label: str
    value: float
    """Of the e-detector; the label is suspended from `THRESHOLD` on."""
    audits: int
    """Those of the champion's decisions answered since a person put it back, if anybody did."""
    errors: int
    suspended_since: datetime | None
    """UTC, without a time zone; None where it is not suspended."""


def suspend_labels(
    warehouse: Warehouse, target: float, champion: str, now: datetime
) -> list[LabelEvidence]:
    """Suspend the labels whose audits break the promise, and end the suspensions that were of
    another champion. Runs at once and repetitions come to the same.

    Args:
        target: the precision that automatic labels have to keep.
        champion: the present version.
        now: UTC, without a time zone.

    Raises:
        WarehouseError: it cannot be written.
    """
    with warehouse.transaction() as connection:
        for table in ("suspended_labels", "ticket_predictions", "ticket_labels"):
            ensure_table(connection, TABLES[table])
        connection.execute(
            f"update {_TABLE} set reset_at = ?, reset_by = 'promotion'"  # noqa: S608
            " where reset_at is null and model_version <> ?",
            [now, champion],
        )
        suspended = {one.label for one in _suspended(connection)}
        for one in _evidence(connection, target, champion):
            if one.value >= THRESHOLD and one.label not in suspended:
                connection.execute(f"delete from {_TABLE} where label = ?", [one.label])  # noqa: S608
                connection.execute(
                    f"insert into {_TABLE} by name select ? as label, ? as tripped_at,"
                    " ? as evidence, ? as audits, ? as errors, ? as model_version",
                    [one.label, now, one.value, one.audits, one.errors, champion],
                )
        return _all(connection, target, champion)


def read_evidence(warehouse: Warehouse, target: float, champion: str | None) -> list[LabelEvidence]:
    """The evidence of each label with an answered audit of the champion's decisions, and of each
    suspended one, by name.

    Raises:
        WarehouseError: it cannot be read.
    """
    if not {"suspended_labels", "ticket_predictions", "ticket_labels"} <= warehouse.tables():
        return []
    # A desk of an earlier release gets the column with the first write.
    if "former_model_version" not in warehouse.columns("ticket_predictions"):
        return []
    with warehouse.connect() as connection:
        return _all(connection, target, champion)


def reset_label(warehouse: Warehouse, label: str, now: datetime) -> None:
    """Make a suspended label automatic again, from the next mail on, with no evidence against it.

    Raises:
        BreakerError: the label is not suspended.
        WarehouseError: it cannot be written.
    """
    suspended: list[str] = []
    if "suspended_labels" in warehouse.tables():
        with warehouse.transaction() as connection:
            suspended = [one.label for one in _suspended(connection)]
            connection.execute(
                f"update {_TABLE} set reset_at = ?, reset_by = 'person'"  # noqa: S608
                " where reset_at is null and label = ?",
                [now, label],
            )
    if label not in suspended:
        others = f"Suspended: {', '.join(suspended)}." if suspended else "No label is."
        raise BreakerError(f"{label!r} is not suspended. {others}")


def _all(
    connection: duckdb.DuckDBPyConnection, target: float, champion: str | None
) -> list[LabelEvidence]:
    evidence = {one.label: one for one in _evidence(connection, target, champion)}
    evidence |= {one.label: one for one in _suspended(connection)}
    return [evidence[label] for label in sorted(evidence)]


def _suspended(connection: duckdb.DuckDBPyConnection) -> list[LabelEvidence]:
    rows = connection.execute(
        f"select label, evidence, audits, errors, tripped_at from {_TABLE}"  # noqa: S608
        " where reset_at is null order by label"
    ).fetchall()
    return [LabelEvidence(*row) for row in rows]


def _evidence(
    connection: duckdb.DuckDBPyConnection, target: float, champion: str | None
) -> list[LabelEvidence]:
    outcomes: list[tuple[Any, ...]] = connection.execute(_OUTCOMES, [champion]).fetchall()
    evidence = []
    for label, of_label in groupby(outcomes, key=itemgetter(0)):
        errors = np.array([is_error for _, is_error in of_label], dtype=bool)
        values = detector(errors, target)
        # Several answers come at once: one in the middle of them may have been too much.
        crossed = np.flatnonzero(values >= THRESHOLD)
        audits = int(crossed[0]) + 1 if len(crossed) else len(values)
        value, count = float(values[audits - 1]), int(errors[:audits].sum())
        evidence.append(LabelEvidence(label, value, audits, count, None))
    return evidence
