"""Soft line breaks of `format=flowed` mail (RFC 3676), undone.

Most mail programs wrap at 72 characters this way. The reader sees a number across such a break as
one number, and so must the code that masks it.
"""

from __future__ import annotations

from typing import NamedTuple

SIGNATURE_SEPARATOR = "-- "


class _Line(NamedTuple):
    depth: int
    """Quotation depth: the number of `>` signs."""
    text: str


def unflow(text: str, *, delete_space: bool = False) -> str:
    """The text with one line per paragraph; quoted ones start with their `>` signs and a space.

    A line that ends in a space goes on in the next one of the same quotation depth. The signature
    separator `-- ` and an empty line end a paragraph, even where a program left a space before.

    Args:
        delete_space: the part's `DelSp` parameter: the space before a soft break is not text.
    """
    paragraphs: list[_Line] = []
    goes_on = False
    for line in map(_unquoted, text.replace("\r\n", "\n").split("\n")):
        is_flowed = line.text.endswith(" ") and line.text != SIGNATURE_SEPARATOR
        content = line.text[:-1] if is_flowed and delete_space else line.text
        is_continuation = (
            goes_on
            and line.depth == paragraphs[-1].depth
            and line.text not in ("", SIGNATURE_SEPARATOR)
        )
        if is_continuation:
            paragraphs[-1] = _Line(line.depth, paragraphs[-1].text + content)
        else:
            paragraphs.append(_Line(line.depth, content))
        goes_on = is_flowed
    return "\n".join(map(_quoted, paragraphs))


def _unquoted(line: str) -> _Line:
    text = line.lstrip(">")
    # One space may stand between the quote signs and the text ("space-stuffing", section 4.4).
    return _Line(len(line) - len(text), text.removeprefix(" "))


def _quoted(line: _Line) -> str:
    if line.depth:
        return f"{'>' * line.depth} {line.text}"
    # A space before text that starts with a quote sign: otherwise it would read as a quotation.
    return f" {line.text}" if line.text.startswith(">") else line.text
