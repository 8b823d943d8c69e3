"""How the deliveries of a desk stand, from its settings, its state and the ledger."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from ticket_assets.delivery.ledger import UNFINISHED, UNTOLD
from ticket_assets.delivery.receivers import DONE, configured_receivers
from ticket_assets.delivery.state import read_state
from ticket_assets.mail.back_off import read_back_off
from ticket_assets.storage.tables import SCHEMA

if TYPE_CHECKING:
    import pandas as pd

    from ticket_assets.desk import Desk


@dataclass(frozen=True)
class ReceiverOverview:
    """How the deliveries to one receiver stand."""

    name: str
    first_day: date | None
    """None: it begins with the next run."""
    delivered: int
    waiting: int
    """Decisions that were never told, and those that are told again."""
    refused: int
    people: int
    """A person had decided before: here, or in the receiver's system."""
    problem: str
    """Why it is left alone now; empty where it is not."""
    next_try: datetime | None
    reasons: dict[str, int]
    """Why decisions wait or are refused, with their numbers; the most frequent first."""


@dataclass(frozen=True)
class DeliveryOverview:
    """How the deliveries of a desk stand."""

    stopped_at: str | None
    shadow_mode: bool
    receivers: tuple[ReceiverOverview, ...]

    def for_json(self) -> dict[str, Any]:
        return asdict(self)


def delivery_overview(desk: Desk) -> DeliveryOverview:
    """How the deliveries stand.

    Raises:
        SettingsError: a receiver is set in part.
        DeliveryError: the state of the deliveries is damaged.
        WarehouseError: the tables cannot be read.
    """
    state, now = read_state(desk.cursors), datetime.now(UTC)
    overviews = []
    for receiver in configured_receivers(desk):
        receiver.close()
        name = receiver.name
        rows = _told(desk, name)
        back_off = read_back_off(desk.cursors, f"delivery {name}")
        is_left_alone = back_off.waits(now) and back_off.is_about(receiver.configuration)
        first_day = state.first_day(name) if state else None
        counts = rows.groupby("outcome")["tickets"].sum().to_dict()
        pending = rows[rows["outcome"].isin([*UNFINISHED, "refused"])].dropna(subset="reason")
        overviews.append(
            ReceiverOverview(
                name=name,
                first_day=first_day,
                delivered=_sum(counts, DONE),
                waiting=_sum(counts, UNFINISHED) + len(untold_tickets(desk, name, first_day)),
                refused=_sum(counts, ["refused"]),
                people=_sum(counts, ["taken", "labelled"]),
                problem=back_off.error if is_left_alone else "",
                next_try=back_off.next_try if is_left_alone else None,
                reasons={
                    str(reason): int(count)
                    for reason, count in pending.groupby("reason")["tickets"]
                    .sum()
                    .sort_values(ascending=False)
                    .items()
                },
            )
        )
    return DeliveryOverview(
        state.stopped_at if state else None, desk.settings.shadow_mode, tuple(overviews)
    )


def untold_tickets(desk: Desk, receiver: str, first_day: date | None) -> pd.DataFrame:
    """The decisions that the receiver was never told and is to be told, as `UNTOLD` has them.

    Args:
        first_day: received before this day (UTC) none is told; None: before today.
    """
    import pandas as pd

    tables = desk.warehouse.tables()
    if "ticket_predictions" not in tables:
        return pd.DataFrame(columns=["ticket_id", "received_at"])
    ledger = "delivered_tickets"
    if ledger not in tables:
        ledger = "(select null::varchar as ticket_id, null::varchar as receiver where false)"
    with desk.warehouse.connect() as connection:
        connection.execute(f"set schema = '{SCHEMA}'")
        return connection.execute(
            f"{UNTOLD.replace('delivered_tickets', ledger)} order by p.received_at, p.ticket_id",
            {
                "since": first_day or datetime.now(UTC).date(),
                "receiver": receiver,
                "reviews": desk.settings.delivery_reviews,
                "excluded": sorted(desk.landing.erased()),
            },
        ).df()


def first_due_day(desk: Desk) -> date | None:
    """The first day with a ticket of which a run would tell a receiver now; None: there is none.

    Raises:
        as `delivery_overview`.
    """
    state, now = read_state(desk.cursors), datetime.now(UTC)
    if desk.settings.shadow_mode or (state and state.stopped_at):
        return None
    days: list[date] = []
    for receiver in configured_receivers(desk):
        receiver.close()
        back_off = read_back_off(desk.cursors, f"delivery {receiver.name}")
        if back_off.waits(now) and back_off.is_about(receiver.configuration):
            continue
        first_day = state.first_day(receiver.name) if state else None
        untold = untold_tickets(desk, receiver.name, first_day)["received_at"]
        days += [moment.date() for moment in untold[:1]]
        days += _first_due_row(desk, receiver.name, now)
    return min(days, default=None)


def _first_due_row(desk: Desk, receiver: str, now: datetime) -> list[date]:
    if "delivered_tickets" not in desk.warehouse.tables():
        return []
    (day,) = desk.warehouse.row(
        "select min(received_at)::date from delivered_tickets where receiver = ?"
        " and outcome in (select unnest(?)) and (coalesce(next_try_at, ?) <= ? or outcome_at > ?)",
        [receiver, list(UNFINISHED), *[now.replace(tzinfo=None)] * 3],
    )
    return [day] if day else []


def _told(desk: Desk, receiver: str) -> pd.DataFrame:
    """Outcome, reason and number of tickets."""
    import pandas as pd

    if "delivered_tickets" not in desk.warehouse.tables():
        return pd.DataFrame({"outcome": [], "reason": [], "tickets": []})
    return desk.warehouse.frame(
        "select outcome, reason, count(*) as tickets from delivered_tickets"
        " where receiver = ? group by all",
        [receiver],
    )


def _sum(counts: dict[Any, Any], outcomes: Collection[str]) -> int:
    return int(sum(counts.get(str(outcome), 0) for outcome in outcomes))
