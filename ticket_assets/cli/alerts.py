"""The commands `tickets alerts`: try out the ways by which alerts are delivered."""

from __future__ import annotations

import typer

from ticket_assets.cli.console import output, print_error, print_warning
from ticket_assets.cli.start import command_desk

app = typer.Typer()
alerts = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="Try out the delivery of alerts."
)
app.add_typer(alerts, name="alerts")


@alerts.command("test", epilog="Example: `tickets alerts test`")
def send_test() -> None:
    """Send a test message to the log and by every way that is set, and say what became of it."""
    from ticket_assets.alerts.delivery import DeliveryError, configured_channels

    desk = command_desk()
    channels = configured_channels(desk.settings, desk.cursors, is_patient=False)
    failed = False
    for channel in channels:
        try:
            channel.send(["A test of ticket-assets: alerts arrive here. Nothing is wrong."])
        except DeliveryError as error:
            failed = True
            print_error(f"{channel.name}: {error}")
        else:
            output.print(f"{channel.name}: sent")
    if len(channels) == 1:
        print_warning(
            "Alerts go to the log alone. Set TICKETS_ALERT_WEBHOOK, or TICKETS_ALERT_MAIL_TO and"
            " TICKETS_SMTP_HOST, to get them elsewhere."
        )
    if failed:
        raise typer.Exit(1)
