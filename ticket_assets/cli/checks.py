"""The command that judges every check of the graph on a fixture mailbox."""

from __future__ import annotations

import tempfile
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ticket_assets.cli.console import print_markdown, progress_bar
from ticket_assets.cli.run import StepProgress
from ticket_assets.cli.start import command_desk
from ticket_assets.desk import Desk
from ticket_assets.settings import SHARED_STORES, use_settings

if TYPE_CHECKING:
    from ticket_assets.checks_table import Severity

app = typer.Typer()

MESSAGES, DAYS, UNTIL, SEED = 400, 21, date(2026, 6, 28), 7
"""The sample, the same on every machine and every day."""
MAILBOX, LABELS = "mailbox.mbox", "labels.csv"


@app.command(
    epilog="Examples: `tickets checks --summary checks.md`; "
    "`tickets checks --fail-on warn --mailbox tests/mailbox`"
)
def checks(
    fail_on: Annotated[
        Literal["error", "warn"],
        typer.Option(help="Whether a check that only warns makes the exit code 1 as well."),
    ] = "error",
    summary: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Also write the table there, in Markdown.")
    ] = None,
    mailbox: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            exists=True,
            help=f"Folder with {MAILBOX} and {LABELS}, as `tickets sample` writes them, instead of"
            " the product's sample.",
        ),
    ] = None,
) -> None:
    """Materialise the graph on a fixture mailbox, judge every check, and show a table of them.

    The exit code is 1 if a check of severity ERROR fails, or is not judged because something
    before it failed. Works in a temporary folder with the present settings; the desk stays as it
    is. The encoder is all-minilm-l6-v2 unless TICKETS_ENCODER names one. About a minute.
    """
    if summary is not None and not summary.absolute().parent.is_dir():
        raise typer.BadParameter(f"--summary: there is no folder {summary.absolute().parent}.")
    if mailbox is not None:
        for name in (MAILBOX, LABELS):
            if not (mailbox / name).is_file():
                raise typer.BadParameter(f"--mailbox: there is no {name} in {mailbox}.")
    settings = command_desk(checked=False).settings
    with tempfile.TemporaryDirectory(prefix="tickets-checks-") as folder:
        # Before the graph is imported, which reads the settings then.
        desk = Desk(
            use_settings(
                data_dir=Path(folder) / "data",
                encoder=settings.encoder
                if "encoder" in settings.model_fields_set
                else "all-minilm-l6-v2",
                # Nothing of the desk's own, and every day of the mailbox.
                **dict.fromkeys((*SHARED_STORES, "first_day", "raw_mail_days")),
            )
        )
        with progress_bar() as progress:
            shown = StepProgress(progress)
            _land(desk, mailbox or _sample(Path(folder) / "sample"))
            from ticket_assets.orchestration.checks import judge_graph

            checked = judge_graph(shown, shown.start)
    severity: Severity = "WARN" if fail_on == "warn" else "ERROR"
    table = checked.to_markdown(severity)
    if summary is not None:
        summary.write_text(table, "utf-8")
    print_markdown(table)
    if not checked.passes(severity):
        raise typer.Exit(1)


def _sample(folder: Path) -> Path:
    from ticket_assets.sample.mailbox import generate, write_mailbox

    write_mailbox(folder, generate(messages=MESSAGES, days=DAYS, until=UNTIL, seed=SEED))
    return folder


def _land(desk: Desk, mailbox: Path) -> None:
    """Lands the mailbox, with labels that the routing file does not have too: a check judges them,
    and an import would refuse them."""
    from ticket_assets.mail.importing import import_path
    from ticket_assets.mail.labels import LabelSet, read_labels, unknown_labels

    routing, labels = desk.routing, mailbox / LABELS
    unknown = unknown_labels(read_labels(labels), LabelSet(routing.categories, routing.priorities))
    import_path(
        desk.landing,
        mailbox / MAILBOX,
        categories=[*routing.categories, *unknown["category"]],
        priorities=[*routing.priorities, *unknown["priority"]],
        labels_path=labels,
    )
    desk.record_settings()
