"""The commands `tickets delivery`: how decisions reach the desk's own systems, and the switch."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ticket_assets.cli.console import output, print_json, print_warning
from ticket_assets.cli.start import CommandError, command_desk
from ticket_assets.plural import counted

if TYPE_CHECKING:
    from ticket_assets.delivery.overview import DeliveryOverview
    from ticket_assets.delivery.state import DeliveryState
    from ticket_assets.desk import Desk

app = typer.Typer()
delivery = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Decisions that go back to the desk's own systems: how they stand, and a switch for all.",
)
app.add_typer(delivery, name="delivery")

SHOWN = 20


@delivery.command(
    epilog="Examples: `tickets delivery status`; `tickets delivery status --dry-run --json`"
)
def status(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what the next run would tell whom.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what was delivered to whom, what waits, and why. Nothing is sent."""
    from ticket_assets.delivery.overview import delivery_overview, untold_tickets

    desk = command_desk()
    overview = delivery_overview(desk)
    untold = {
        receiver.name: untold_tickets(desk, receiver.name, receiver.first_day)
        for receiver in overview.receivers
        if dry_run
    }
    if as_json:
        would_be_told = {name: rows.to_dict("records") for name, rows in untold.items()}
        print_json(overview.for_json() | ({"would_be_told": would_be_told} if dry_run else {}))
        return
    if not overview.receivers:
        output.print("Delivery      off: no TICKETS_DELIVERY_* is set")
    elif overview.shadow_mode:
        output.print("Delivery      none in shadow mode (TICKETS_SHADOW_MODE)")
    print_delivery(overview.for_json())
    for receiver in overview.receivers:
        for reason, count in receiver.reasons.items():
            output.print(f"  {receiver.name}: {counted(count, 'ticket')}: {reason}")
    for name, rows in untold.items():
        output.print(f"{name} would be told of {counted(len(rows), 'ticket')} for the first time.")
        for row in rows.head(SHOWN).to_dict("records"):
            what = row["category"] or f"review ({row['review_reason']})"
            output.print(f"  {row['ticket_id']}  {row['received_at']:%Y-%m-%d %H:%M}  {what}")


def print_delivery(figures: dict[str, Any]) -> None:
    """A line on the switch where delivery is stopped, and one on each receiver."""
    if figures["stopped_at"]:
        moment = figures["stopped_at"][:16].replace("T", " ")
        print_warning(
            f"Delivery is stopped since {moment} UTC: nothing is handed on. `tickets delivery"
            " start` starts it."
        )
    for receiver in figures["receivers"]:
        since = f", from {receiver['first_day']} on" if receiver["first_day"] else ""
        output.print(
            f"Delivery      {receiver['name']}: {receiver['delivered']:,} delivered,"
            f" {receiver['waiting']:,} wait, {receiver['refused']:,} refused,"
            f" {receiver['people']:,} decided by people{since}",
            soft_wrap=True,
        )
        if receiver["problem"]:
            print_warning(
                f"{receiver['name']}: {receiver['problem']} Tried again at"
                f" {receiver['next_try']:%Y-%m-%d %H:%M} UTC; `tickets delivery retry` tries now."
            )


@delivery.command(epilog="Example: `tickets delivery stop`")
def stop() -> None:
    """Stop all delivery at once, also that of a run at work. What is decided meanwhile waits."""
    from ticket_assets.delivery.state import change_state

    desk = command_desk()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    change_state(desk.cursors, lambda state: replace(state, stopped_at=state.stopped_at or now))
    output.print(
        "Delivery is stopped: a run at work sends what is on its way and no more."
        " `tickets delivery start` starts it."
    )


@delivery.command(
    epilog="Examples: `tickets delivery start`; `tickets delivery start --from 2026-11-01`"
)
def start(
    first: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            formats=["%Y-%m-%d"],
            help="Deliver from this day (UTC) on: an earlier one for tickets of the past, today for"
            " none that were decided while delivery was stopped.",
        ),
    ] = None,
) -> None:
    """Start delivery, after a stop or from another day on, and say how many decisions wait."""
    from ticket_assets.delivery.overview import delivery_overview
    from ticket_assets.delivery.state import begin, change_state

    desk = command_desk()
    names = [receiver.name for receiver in _receivers(desk).receivers]
    today = datetime.now(UTC).date()
    day = first.date() if first else None

    def started(state: DeliveryState) -> DeliveryState:
        begun = begin(
            replace(state, first_days={} if day else state.first_days),
            dict.fromkeys(names, day or today),
        )
        return replace(begun, stopped_at=None)

    change_state(desk.cursors, started)
    overview = delivery_overview(desk)
    print_delivery(overview.for_json())
    waiting = sum(receiver.waiting for receiver in overview.receivers)
    output.print(f"The next run tells {counted(waiting, 'decision')}: tickets run")


@delivery.command(epilog="Example: `tickets delivery retry`")
def retry() -> None:
    """Have what a receiver refused, or failed to take, told again by the next run."""
    from ticket_assets.delivery.ledger import Ledger
    from ticket_assets.delivery.state import change_state
    from ticket_assets.mail.back_off import BackOff, write_back_off

    desk = command_desk()
    overview = _receivers(desk)
    state = change_state(desk.cursors, lambda state: state)
    for receiver in overview.receivers:
        count = Ledger(desk.warehouse, state.desk).retry(receiver.name)
        write_back_off(desk.cursors, f"delivery {receiver.name}", BackOff())
        output.print(f"{receiver.name}: {counted(count, 'ticket')} to be told again.")
    output.print("Next: tickets run")


def _receivers(desk: Desk) -> DeliveryOverview:
    from ticket_assets.delivery.overview import delivery_overview

    overview = delivery_overview(desk)
    if not overview.receivers:
        raise CommandError(
            "No receiver is set: set TICKETS_DELIVERY_FOLDER, or TICKETS_DELIVERY_WEBHOOK and"
            " TICKETS_DELIVERY_WEBHOOK_SECRET_FILE."
        )
    return overview
