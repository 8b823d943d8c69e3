"""What all commands print with: lines, notes, errors, JSON, progress."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from rich.progress import Progress

PIPE_WIDTH = 160
"""Characters a line of a table may have in a file or a pipe, which have no width of their own."""

output = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
messages = Console(stderr=True, highlight=False)


def print_error(message: str) -> None:
    """Show an error as one line."""
    messages.print(f"[bold red]Error:[/] {escape(' '.join(message.split()))}", soft_wrap=True)


def print_warning(message: str) -> None:
    """Show, as one line, what a person should know of a command that succeeded."""
    messages.print(f"[yellow]Note:[/] {escape(message)}", soft_wrap=True)


def print_markdown(text: str) -> None:
    """Show markdown: laid out on a terminal, as it is in a file or a pipe."""
    if not output.is_terminal:
        output.print(text, markup=False, soft_wrap=True)
        return
    from rich.markdown import Markdown

    output.print(Markdown(text))


def print_json(content: dict[str, Any]) -> None:
    """Show what a program reads; dates as text."""
    typer.echo(json.dumps(content, ensure_ascii=False, indent=2, default=str))


def progress_bar() -> Progress:
    """A bar on standard error while someone watches; nothing in a log or a pipe."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=messages,
        transient=True,
        disable=not messages.is_terminal,
    )
