"""The ledger: what is about to be told to whom, and what came of it.

An intent is written before anything is sent, and its result after: whatever dies in between, the
intent is found again, and the same is told with the same key.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from ticket_assets.delivery.decisions import Decision, Intent, idempotency_key
from ticket_assets.delivery.receivers import OPEN, Receipt
from ticket_assets.storage.tables import SCHEMA, TABLES
from ticket_assets.storage.warehouse import Warehouse, ensure_table

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

TABLE = TABLES["delivered_tickets"]
SENDING = "sending"
"""About to be told: it may have arrived."""
UNFINISHED = (SENDING, *OPEN)
"""It is to be told, again or for the first time."""
LABELLED = "labelled"
"""A person has labelled the ticket here, before it was known to be delivered."""
FIRST_DELAY = timedelta(minutes=1)
LONGEST_DELAY = timedelta(hours=1)
UNKNOWN_LIMIT = timedelta(days=7)
"""A ticket that a receiver does not know for so long is refused: it will not come any more."""
# A decision for a person names no category: what is likely stands in `likely`. Who is told which
# tickets are audits looks at them in another way: they are among the unsure.
UNTOLD = """
select p.ticket_id, p.received_at, m.message_id,
    if(p.decision = 'auto', p.category, null) as category,
    if(p.decision = 'auto' and p.decided_by = 'model', p.category_confidence, null)
        as category_confidence,
    if(p.priority_decision = 'auto', p.priority, null) as priority,
    if(p.priority_decision = 'auto', p.priority_confidence, null) as priority_confidence,
    p.queue, p.decision, p.decided_by,
    case when p.decision <> 'review' then null
        when p.review_reason in ('audit', 'suspended') then 'unsure'
        else p.review_reason end as review_reason,
    if(p.decision = 'review', coalesce(p.likely, '[]'), '[]') as likely, p.model_version
from ticket_predictions p left join raw_tickets m using (ticket_id)
where (p.decision = 'auto' or (p.decision = 'review' and $reviews)) and p.received_at >= $since
    and p.ticket_id not in (select ticket_id from ticket_labels)
    and p.ticket_id not in (select ticket_id from delivered_tickets where receiver = $receiver)
    and p.ticket_id not in (select unnest($excluded::varchar[]))
"""


class Ledger:
    """The rows of `delivered_tickets`. One process at a time writes those of a receiver."""

    def __init__(self, warehouse: Warehouse, desk: str) -> None:
        """
        Args:
            desk: the desk's own UUID.
        """
        self._warehouse = warehouse
        self._desk = desk

    def next_intents(
        self,
        receiver: str,
        *,
        since: date,
        limit: int,
        receipts: Collection[Receipt] = (),
        excluded: Collection[str] = (),
        reviews: bool = True,
    ) -> list[Intent]:
        """Write receipts down, then the next intents; all in one transaction.

        First come those of a former batch that are due, then tickets that were never told. Tickets
        that a person has labelled are withdrawn, or never intended.

        Args:
            since: tickets received before this day (UTC) are not told.
            limit: the most intents that are returned; of one batch.
            receipts: those of the last intents.
            excluded: ids of tickets that are labelled or erased, though the tables do not say so
                yet.
            reviews: whether decisions that a person has to make are told.
        """
        with self._rows(receiver) as rows:
            rows.record(receipts)
            rows.withdraw(excluded)
            if due := rows.due(limit):
                return due
            untold = rows.untold(since, reviews, excluded, limit)
            keys = [idempotency_key(self._desk, receiver, ticket) for ticket in untold["ticket_id"]]
            return rows.intend(untold.assign(key=keys)) if keys else []

    def record(
        self, receiver: str, receipts: Collection[Receipt], untaken: Collection[str]
    ) -> None:
        """Write receipts down.

        Args:
            untaken: ids of intents that were not told at all; they are as if never intended.
        """
        with self._rows(receiver) as rows:
            rows.forget(untaken)
            rows.record(receipts)

    def retry(self, receiver: str) -> int:
        """Have what the receiver refused or failed to take told at once; returns the number of
        tickets."""
        with self._rows(receiver) as rows:
            return rows.retry()

    @contextmanager
    def _rows(self, receiver: str) -> Iterator[_Rows]:
        with self._warehouse.transaction() as connection:
            ensure_table(connection, TABLE)
            connection.execute(f"set schema = '{SCHEMA}'")
            yield _Rows(connection, receiver, datetime.now(UTC).replace(tzinfo=None))


@dataclass(frozen=True)
class _Rows:
    """The rows of one receiver, in one transaction."""

    connection: duckdb.DuckDBPyConnection
    receiver: str
    now: datetime

    def forget(self, tickets: Collection[str]) -> None:
        """Nothing was sent of these since they were intended."""
        if not tickets:
            return
        parameters = [self.receiver, SENDING, list(tickets)]
        self._execute(
            "delete from delivered_tickets where receiver = ? and outcome = ?"
            " and ticket_id in (select unnest(?)) and tries = 1",
            parameters,
        )
        self._execute(
            "update delivered_tickets set outcome = 'failed' where receiver = ? and outcome = ?"
            " and ticket_id in (select unnest(?))",
            parameters,
        )

    def record(self, receipts: Collection[Receipt]) -> None:
        if not receipts:
            return
        columns = zip(
            *(
                (
                    receipt.ticket_id,
                    receipt.outcome.value,
                    receipt.reason or None,
                    receipt.reference,
                    receipt.retry_after.total_seconds() if receipt.retry_after else 0.0,
                )
                for receipt in receipts
            ),
            strict=True,
        )
        # An update: of a ticket that was erased meanwhile nothing is written again.
        self._execute(
            "update delivered_tickets as d set outcome = r.outcome, outcome_at = $now,"
            " reason = r.reason, reference = coalesce(r.reference, d.reference), next_try_at = case"
            " when r.outcome in (select unnest($open)) then $now + to_seconds(greatest("
            "  least($first_delay * 2 ** (d.tries - 1), $longest_delay), r.retry_after)) end"
            " from (select unnest($tickets) as ticket_id, unnest($outcomes) as outcome,"
            "  unnest($reasons::varchar[]) as reason, unnest($references::varchar[]) as reference,"
            "  unnest($delays::double[]) as retry_after) as r"
            " where d.ticket_id = r.ticket_id and d.receiver = $receiver and d.outcome = $sending",
            {
                **dict(
                    zip(
                        ("tickets", "outcomes", "reasons", "references", "delays"),
                        map(list, columns),
                        strict=True,
                    )
                ),
                "now": self.now,
                "open": list(OPEN),
                "first_delay": FIRST_DELAY.total_seconds(),
                "longest_delay": LONGEST_DELAY.total_seconds(),
                "receiver": self.receiver,
                "sending": SENDING,
            },
        )
        self._execute(
            "update delivered_tickets set outcome = 'refused', next_try_at = null"
            " where receiver = ? and outcome = 'unknown' and intended_at < ?",
            [self.receiver, self.now - UNKNOWN_LIMIT],
        )

    def retry(self) -> int:
        (count,) = self._execute(
            "update delivered_tickets set outcome = 'failed', next_try_at = null"
            " where receiver = ? and outcome in (select unnest(?))",
            [self.receiver, ["refused", *OPEN]],
        ).fetchall()[0]
        return int(count)

    def withdraw(self, excluded: Collection[str]) -> None:
        """What a person has labelled is not told again."""
        self._execute(
            "update delivered_tickets set outcome = ?, outcome_at = ?, next_try_at = null"
            " where receiver = ? and outcome in (select unnest(?)) and (ticket_id in"
            " (select ticket_id from ticket_labels)"
            " or ticket_id in (select unnest(?::varchar[])))",
            [LABELLED, self.now, self.receiver, list(UNFINISHED), list(excluded)],
        )

    def due(self, limit: int) -> list[Intent]:
        """Those of the batch that was intended first, marked as being sent once more."""
        rows = self._execute(
            "with due as ("
            " from delivered_tickets where receiver = $receiver"
            " and outcome in (select unnest($unfinished))"
            # After a clock that was ahead: who failed in the future would wait until then.
            " and (coalesce(next_try_at, $now) <= $now or outcome_at > $now))"
            " select ticket_id from due"
            " where batch = (select arg_min(batch, (intended_at, batch)) from due)"
            " order by received_at, ticket_id limit $limit",
            {
                "receiver": self.receiver,
                "unfinished": list(UNFINISHED),
                "now": self.now,
                "limit": limit,
            },
        ).fetchall()
        tickets = [ticket for (ticket,) in rows]
        self._execute(
            "update delivered_tickets set outcome = ?, outcome_at = ?, tries = tries + 1,"
            " next_try_at = null where receiver = ? and ticket_id in (select unnest(?::varchar[]))",
            [SENDING, self.now, self.receiver, tickets],
        )
        return self._intents(tickets)

    def untold(
        self, since: date, reviews: bool, excluded: Collection[str], limit: int
    ) -> pd.DataFrame:
        """The columns of a decision, of tickets that this receiver was never told of."""
        return self._execute(
            f"{UNTOLD} order by p.received_at, p.ticket_id limit $limit",
            {
                "since": since,
                "reviews": reviews,
                "receiver": self.receiver,
                "excluded": list(excluded),
                "limit": limit,
            },
        ).df()

    def intend(self, untold: pd.DataFrame) -> list[Intent]:
        self.connection.register("untold", untold)
        self._execute(
            "insert into delivered_tickets by name"
            " select *, $receiver as receiver, $batch as batch,"
            " $now as intended_at, $sending as outcome, $now as outcome_at, 1 as tries from untold",
            {
                "receiver": self.receiver,
                "batch": f"{self.now:%Y%m%dT%H%M%S}-{untold['key'].iloc[0][:8]}",
                "now": self.now,
                "sending": SENDING,
            },
        )
        return self._intents(list(untold["ticket_id"]))

    def _intents(self, tickets: Sequence[str]) -> list[Intent]:
        columns = tuple(field.name for field in fields(Decision))
        rows = self._execute(
            f"select key, batch, intended_at, {', '.join(columns)} from delivered_tickets"  # noqa: S608
            " where receiver = ? and ticket_id in (select unnest(?::varchar[]))"
            " order by received_at, ticket_id",
            [self.receiver, list(tickets)],
        ).fetchall()
        return [
            Intent(key, batch, intended_at, _decision(dict(zip(columns, values, strict=True))))
            for key, batch, intended_at, *values in rows
        ]

    def _execute(self, sql: str, parameters: Any) -> duckdb.DuckDBPyConnection:
        return self.connection.execute(sql, parameters)


def _decision(row: dict[str, Any]) -> Decision:
    return Decision(**{**row, "likely": tuple(json.loads(row["likely"]))})
