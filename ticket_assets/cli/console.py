"""Output of all commands: lines, notes, errors, JSON, progress."""

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
"""Characters in a line of a table in a file or a pipe, which have no width of their own."""

ERROR_CHARACTERS = 500

output = Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
messages = Console(stderr=True, highlight=False)


def print_error(message: str) -> None:
    """Show an error as one line of at most `ERROR_CHARACTERS`."""
    messages.print(f"[bold red]Error:[/] {escape(shortened(message))}", soft_wrap=True)


def shortened(message: str) -> str:
    """A message on one line; a long one without its middle.

    The beginning says what went wrong and the end what to do about it; what makes it long are lists
    of names and quoted lines between them.
    """
    line = " ".join(message.split())
    if len(line) <= ERROR_CHARACTERS:
        return line
    half = (ERROR_CHARACTERS - 3) // 2
    return f"{line[:half].rsplit(' ', 1)[0]} … {line[-half:].split(' ', 1)[-1]}"


def print_warning(message: str) -> None:
    """Show, as one line, a note about a command that succeeded."""
    messages.print(f"[yellow]Note:[/] {escape(message)}", soft_wrap=True)


def print_markdown(text: str) -> None:
    """Show markdown: laid out on a terminal, unchanged in a file or a pipe."""
    if not output.is_terminal:
        output.print(text, markup=False, soft_wrap=True)
        return
    from rich.markdown import Markdown

    output.print(Markdown(text))


def print_json(content: dict[str, Any]) -> None:
    """Show JSON for programs; dates as text."""
    typer.echo(json.dumps(content, ensure_ascii=False, indent=2, default=str))


def progress_bar() -> Progress:
    """A bar on standard error of a terminal; nothing in a log or a pipe."""
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
