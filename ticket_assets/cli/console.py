"""Output of all commands: lines, notes, errors, JSON, progress.

Whatever is printed is text, wherever it comes from: square brackets are no markup here, and control
characters are written out. Styles are given beside the text, by `styled`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from ticket_assets.text.characters import visible

if TYPE_CHECKING:
    from rich.progress import Progress

PIPE_WIDTH = 160
"""Characters in a line of a table in a file or a pipe, which have no width of their own."""

ERROR_CHARACTERS = 500


class TextConsole(Console):
    """A console on which all strings are text of one line, and no control character is sent but
    rich's own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        # What does not come through `render_str`, such as the parts of a markdown text.
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield segment._replace(text=visible(segment.text, keep="\n"))


output = TextConsole(width=None if sys.stdout.isatty() else PIPE_WIDTH)
messages = TextConsole(stderr=True)


def styled(*parts: str | tuple[str, str]) -> Text:
    """Parts of a line, each a text or a text with its style."""
    return Text.assemble(
        *(visible(part) if isinstance(part, str) else (visible(part[0]), part[1]) for part in parts)
    )


def print_error(message: str) -> None:
    """Show an error as one line of at most `ERROR_CHARACTERS`."""
    messages.print(styled(("Error:", "bold red"), f" {shortened(message)}"), soft_wrap=True)


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
    line = " ".join(message.split())
    messages.print(styled(("Note:", "yellow"), f" {line}"), soft_wrap=True)


def print_waiting(what: str) -> None:
    """Show, from the start, what a command waits for."""
    print_warning(f"Waits for {what}.")


def print_markdown(text: str) -> None:
    """Show markdown: laid out on a terminal, unchanged in a file or a pipe."""
    if not output.is_terminal:
        output.print(Text(text), soft_wrap=True)
        return
    from rich.markdown import Markdown

    # Where a link leads is to be seen.
    output.print(Markdown(visible(text, keep="\n"), hyperlinks=False))


def print_json(content: dict[str, Any]) -> None:
    """Show JSON for programs; dates as text."""
    output.print(Text(json_text(content)), soft_wrap=True)


def json_text(content: Any) -> str:
    """JSON of several lines without a character that a terminal obeys."""
    text = json.dumps(content, ensure_ascii=False, indent=2, default=str)
    if visible(text, keep="\n") == text:
        return text
    return json.dumps(content, indent=2, default=str)


def progress_bar() -> Progress:
    """A bar on standard error of a terminal; nothing in a log or a pipe."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=messages,
        transient=True,
        disable=not messages.is_terminal,
    )
