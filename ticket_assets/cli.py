"""The `tickets` command: sample mail, import, run, classify, status."""

from __future__ import annotations

import json
import sys
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ticket_assets.errors import TicketAssetsError
from ticket_assets.settings import Settings, load_settings

if TYPE_CHECKING:
    from dagster import DagsterEvent
    from rich.progress import Progress

    from ticket_assets.classification.sorting import SortedTicket

app = typer.Typer(
    name="tickets",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Sort IT-support mail: category, priority and queue, or an honest "a person should look".

Settings are TICKETS_* variables or lines of `.env`; `.env.example` lists them all.""",
)
output = Console(highlight=False)
messages = Console(stderr=True, highlight=False)


def main() -> None:
    """Run the command; an error meant for people is one line and exit code 1."""
    try:
        app()
    except TicketAssetsError as error:
        messages.print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=True)
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)


@app.command(epilog="Example: `tickets sample data/sample --messages 500 --days 20`")
def sample(
    folder: Annotated[
        Path | None, typer.Argument(help="Where to write; by default `sample` in the data folder.")
    ] = None,
    count: Annotated[
        int, typer.Option("--messages", min=50, max=1_000_000, help="Messages to write.")
    ] = 3000,
    days: Annotated[int, typer.Option(min=14, max=3650, help="Days they are spread over.")] = 60,
    until: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Last day; by default yesterday (UTC)."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Same seed, same mailbox; by default TICKETS_SEED.")
    ] = None,
) -> None:
    """Write a believable French and English support mailbox, with the labels people gave."""
    from ticket_assets.sample.mailbox import generate, write_mailbox

    settings = load_settings()
    last_day = until.date() if until else _today() - timedelta(days=1)
    mails = generate(
        messages=count,
        days=days,
        until=last_day,
        seed=settings.seed if seed is None else seed,
    )
    with _progress() as progress:
        task = progress.add_task("Writing the sample mailbox", total=count)
        files = write_mailbox(
            folder or settings.data_dir / "sample", mails, lambda: progress.advance(task)
        )
    output.print(
        f"{files.messages:,} messages in {files.mailbox}, {files.labelled:,} labels in"
        f" {files.labels}",
        soft_wrap=True,
    )
    output.print(f"Next: tickets import {files.mailbox} --labels {files.labels}", soft_wrap=True)


@app.command(
    "import",
    epilog="Examples: `tickets import ~/support.mbox --labels labels.csv`; "
    "`tickets import export.csv --column body=Description`; "
    "`tickets import export.csv --write-routing routing.yaml`",
)
def import_mail(
    path: Annotated[
        Path,
        typer.Argument(help="mbox, Maildir, folder of .eml, .eml, CSV, TSV, JSONL or Parquet."),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(help="Labels in a file of their own: message_id, category, priority."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column of an export, as in `body=Description`. Repeatable."),
    ] = None,
    write_routing: Annotated[
        Path | None,
        typer.Option(help="Only write a routing file with the labels found, for you to complete."),
    ] = None,
) -> None:
    """Land a mailbox or an export, with the labels people gave where it has them.

    Nothing is landed twice; nothing is landed at all when a label is unknown.
    """
    from ticket_assets.mail.importing import import_path
    from ticket_assets.mail.landing import LandingZone
    from ticket_assets.routing import load_routing

    settings = load_settings()
    mapping = _column_mapping(column or [])
    if write_routing is not None:
        _write_routing(path, labels, mapping, write_routing)
        return
    routing = load_routing(settings.routing)
    with _progress() as progress:
        task = progress.add_task("Landing messages", total=None)
        report = import_path(
            LandingZone(settings.landing_dir),
            path,
            categories=routing.categories,
            priorities=routing.priorities,
            column_mapping=mapping,
            labels_path=labels,
            first_day=settings.first_day,
            on_message=lambda _: progress.advance(task),
        )
    output.print(
        f"{report.landed:,} messages landed, {report.already_there:,} already there,"
        f" {report.labels:,} new labels."
    )
    if report.unresolved:
        messages.print(
            f"[yellow]{report.unresolved:,} labels name a message that has not landed;[/]"
            " they count once it has."
        )
    if report.older:
        oldest = min(report.days)
        messages.print(
            f"[yellow]{report.older:,} messages are older than the first processed day and"
            f" wait.[/] To have them processed, set TICKETS_FIRST_DAY={oldest.isoformat()} in .env"
            " and reload Dagster.",
            soft_wrap=True,
        )
    if report.landed or report.labels:
        output.print("Next: tickets run")


@app.command(
    epilog="Examples: `tickets run`; `tickets run --day 2026-11-20`; "
    "`tickets run --from 2026-11-01 --only ticket_predictions --only drift_report`"
)
def run(
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="This day (UTC) alone.")
    ] = None,
    first: Annotated[
        datetime | None, typer.Option("--from", formats=["%Y-%m-%d"], help="From this day.")
    ] = None,
    last: Annotated[
        datetime | None, typer.Option("--to", formats=["%Y-%m-%d"], help="To this day.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Only this asset and its checks. Repeatable.")
    ] = None,
) -> None:
    """Materialise every asset and evaluate every check, in one run; all days by default.

    What has not changed is not computed again. The run is visible in the Dagster UI.
    """
    if day is not None and (first is not None or last is not None):
        raise typer.BadParameter("--day goes without --from and --to.")
    load_settings()
    from ticket_assets.defs.runs import materialise

    start, end = (day or first), (day or last)
    with _progress() as progress:
        summary = materialise(
            start.date() if start else None,
            end.date() if end else None,
            only or [],
            _StepProgress(progress),
        )
    for failed in summary.failed_checks:
        kind = "[bold red]failed[/]" if failed.blocking else "[yellow]warns[/]"
        output.print(f"{kind}  {failed.asset}: {failed.check}")
    output.print(
        f"{len(summary.materialised)} assets materialised, {summary.passed_checks} checks passed,"
        f" {len(summary.failed_checks)} did not. Run {summary.run_id}"
    )
    for step, reason in summary.failed_steps.items():
        messages.print(f"[bold red]Error:[/] {step}: {escape(reason)}", soft_wrap=True)
    if summary.success:
        _print_status(load_settings())
        return
    if summary.skipped:
        messages.print(f"Not materialised: {', '.join(sorted(summary.skipped))}", soft_wrap=True)
    raise typer.Exit(1)


@app.command(
    epilog='Examples: `tickets classify "Impossible d\'ouvrir le VPN depuis ce matin"`; '
    "`tickets classify - --json < mail.txt`"
)
def classify(
    text: Annotated[str, typer.Argument(help="The text of a ticket, or `-` for standard input.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say category, priority, queue and confidence of a text, and the nearest past tickets."""
    from ticket_assets.classification.sorting import sort_text

    settings = load_settings()
    ticket = sort_text(sys.stdin.read() if text == "-" else text, settings)
    if as_json:
        print(json.dumps(ticket.as_dict(), ensure_ascii=False, indent=2))
    else:
        _print_ticket(ticket)


@app.command(epilog="Example: `tickets status --json`")
def status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what has landed, what the tables hold and how good the champion is."""
    settings = load_settings()
    if as_json:
        from ticket_assets.status import read_status

        print(json.dumps(read_status(settings), ensure_ascii=False, indent=2, default=str))
    else:
        _print_status(settings)


def _today() -> date:
    return datetime.now(UTC).date()


def _progress() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=messages,
    )


class _StepProgress:
    """Shows which asset or check a run is at, and how many steps it has done."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("Starting", total=None)

    def __call__(self, event: DagsterEvent) -> None:
        name = event.event_type_value
        if name == "STEP_START" and event.step_key:
            self._progress.update(self._task, description=event.step_key.ljust(40)[:40])
        elif name in {"STEP_SUCCESS", "STEP_FAILURE", "STEP_SKIPPED"}:
            self._progress.advance(self._task)


def _column_mapping(pairs: list[str]) -> dict[str, str] | None:
    mapping = {}
    for pair in pairs:
        field, separator, column = pair.partition("=")
        if not separator or not field or not column:
            raise typer.BadParameter(f"--column takes FIELD=COLUMN, as in body=Text, not {pair!r}.")
        mapping[field.strip()] = column.strip()
    return mapping or None


def _write_routing(
    path: Path, labels: Path | None, mapping: dict[str, str] | None, target: Path
) -> None:
    import yaml

    from ticket_assets.mail.importing import found_labels
    from ticket_assets.routing import RoutingError, load_routing

    if target.exists():
        raise RoutingError(f"{target} exists already; it is not overwritten. Name another file.")
    categories, priorities = found_labels(labels or path, mapping)
    if not categories:
        raise RoutingError(f"No category was found in {labels or path}; nothing was written.")
    known = load_routing(None).priorities
    # The usual words have a known order; the desk's own ones have to be put in order by a person.
    ordered = list(known) if set(priorities) <= set(known) else sorted(priorities)
    content = {
        "categories": {name: {"queue": name} for name in sorted(categories)},
        "priorities": ordered if len(ordered) >= 2 else list(known),
        "review_queue": "triage",
    }
    target.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), "utf-8")
    output.print(
        f"{len(categories)} categories written to {target}. Give each its queue, put the"
        f" priorities in order, least urgent first, then set TICKETS_ROUTING={target}.",
        soft_wrap=True,
    )


def _print_ticket(ticket: SortedTicket) -> None:
    from rich.table import Table

    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_row(
        "category", f"[bold]{escape(ticket.category)}[/]", _percent(ticket.category_confidence)
    )
    if ticket.priority is not None:
        table.add_row(
            "priority", f"[bold]{escape(ticket.priority)}[/]", _percent(ticket.priority_confidence)
        )
    table.add_row("queue", escape(ticket.queue), "")
    decision = (
        "[green]auto[/]" if ticket.decision == "auto" else "[yellow]review: a person should look[/]"
    )
    table.add_row("decision", decision, "")
    if ticket.terms:
        table.add_row("because of", escape(", ".join(term for term, _ in ticket.terms)), "")
    output.print(table)
    if not ticket.nearest:
        return
    nearest = Table(
        "similar", "category", "priority", "day", "text", title="Nearest labelled tickets"
    )
    for neighbour in ticket.nearest:
        nearest.add_row(
            f"{neighbour['similarity']:.2f}",
            neighbour["category"],
            neighbour["priority"] or "",
            neighbour["day"],
            escape(" ".join(neighbour["text"].split())[:80]),
        )
    output.print(nearest)


def _print_status(settings: Settings) -> None:
    from rich.table import Table

    from ticket_assets.status import read_status

    found = read_status(settings)
    landing = found["landing"]
    output.print(
        f"Landing zone  {landing['messages']:,} messages on {landing['days']:,} days"
        + (f", {landing['first']} to {landing['last']}" if landing["days"] else "")
        + f"  ({settings.landing_dir.absolute()})",
        soft_wrap=True,
    )
    if not landing["messages"]:
        output.print(
            "Nothing has landed yet: tickets import PATH, or tickets sample to try it out."
        )
        return
    if found["tables"]:
        tables = Table("table", "rows", "newest (UTC)", box=None, pad_edge=False)
        for name, about in found["tables"].items():
            tables.add_row(name, f"{about['rows']:,}", str(about["newest"] or ""))
        output.print(tables)
    else:
        output.print("No table yet: tickets run")
    _print_champion(found["champion"])
    decisions = Counter(found["decisions"])
    total = decisions.total()
    if total:
        output.print(
            f"Predictions   {decisions['auto'] / total:.0%} auto,"
            f" {decisions['review'] / total:.0%} for a person to look at"
        )
    if found["drift"]:
        drift = found["drift"]
        verdict = "[yellow]drifts[/]" if drift["drifted"] else "[green]quiet[/]"
        reasons = f" ({', '.join(drift['metrics'])})" if drift["metrics"] else ""
        output.print(f"Drift         {drift['day']}: {verdict}{reasons}", soft_wrap=True)


def _print_champion(champion: dict[str, Any] | None) -> None:
    if champion is None:
        output.print("No champion model yet: label tickets, then tickets run")
        return
    output.print(f"Champion      {champion['version']}, on {champion['encoder']}", soft_wrap=True)
    for target, scores in champion["targets"].items():
        output.print(
            f"  {target:<11} macro-F1 {scores['macro_f1']:.3f} (majority"
            f" {scores['majority_macro_f1']:.3f}) on the most recent {scores['rows']:,} labelled;"
            f" {scores['coverage']:.0%} sure, {_percent(scores['precision'])} of those right",
            soft_wrap=True,
        )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"
