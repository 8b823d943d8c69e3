"""Splits a mail body into what its author wrote, what it quotes, and its signature."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import NamedTuple

from ticket_assets.text.characters import readable
from ticket_assets.text.header_blocks import header, headers_end
from ticket_assets.text.introductions import MAX_LINE, QUOTED, introduction, starts_quoted
from ticket_assets.text.languages import all_words, phrases
from ticket_assets.text.signatures import NameWords, cut_signature, is_greeting, name_words

_MAX_LINES = 4_000
_MAX_FORWARDS = 4
_MAX_NOTE_WORDS = 20
_MAX_ANNOUNCING = 3  # lines between one's own words and the headers of a quoted message
_ANNOUNCING = re.compile(r"[_\-=*#]{5,}|([_\-=*#~]{2,})[^_\-=*#~].{0,80}[_\-=*#~]{2,}")
_UNQUOTE_ONCE = re.compile(r"^\s{0,3}> ?")
_UNQUOTE = re.compile(r"^(?:\s{0,3}> ?)+", re.MULTILINE)


class ReplyParts(NamedTuple):
    """The three parts of a body; `own` is empty only when the body is."""

    own: str
    quoted: str
    signature: str


class _Patterns:
    """Lines around quoted messages, in the words of all languages."""

    def __init__(self) -> None:
        words = all_words()
        self.original = phrases(words.original_marks, r"[-_*\s]{3,}", r"[-_*\s:]*")
        self.forward = phrases(words.forward_marks, r"(?:-{2,}\s*)?", r"(?:\s*-{2,}|\s?:)")
        self.note = phrases(words.notes_below, r"\b", r"\b")
        decoration = r"[\W_]{0,30}"
        self.answer_above = phrases(words.answer_above, decoration, decoration)
        self.answer_below = phrases(words.answer_below, decoration, decoration)
        self.desk_line_words = words.desk_line_words


_patterns = functools.cache(_Patterns)


def is_forward_marker(line: str) -> bool:
    """Whether `line` announces a forwarded message ("---- Message transféré ----")."""
    return bool(_patterns().forward.match(line.strip(" *>\t")))


def split_reply(
    text: str,
    *,
    forwarded: bool = False,
    author: str | None = None,
    reply_delimiter: str | None = None,
) -> ReplyParts:
    """The author's own words, the quoted messages and the signatures of a plain-text body.

    The author's words are never lost. Text between and below `>` lines is theirs. A message that
    is forwarded rather than answered (an explicit marker, nothing but a greeting above it, or
    `forwarded`, for a subject like "TR:") is part of the request: its text is kept, its header
    lines and what it quotes in turn are not. When no more than a greeting is left, `own` is the
    whole text with its `>` taken away.

    Below the line that asks to answer above it stands the text of a help desk; `reply_delimiter`
    is the desk's own such line. The `author`'s name as the message gives it, when known, tells a
    signature from other people's details. Only the first 4,000 lines are looked at; the rest is
    dropped.
    """
    lines = readable(text).split("\n", _MAX_LINES)[:_MAX_LINES]
    folded = text.lower()
    desk_lines = _DeskLines(
        bool(reply_delimiter) or any(map(folded.__contains__, _patterns().desk_line_words)),
        _bare(reply_delimiter) if reply_delimiter else None,
    )
    words = name_words(author)
    parts = _split(lines, forwarded, _MAX_FORWARDS, words, desk_lines)
    if not forwarded and not _says_something(parts.own):
        parts = _split(lines, True, _MAX_FORWARDS, words, desk_lines)
    if parts.own and (not parts.quoted or _says_something(parts.own)):
        return parts
    return ReplyParts(_UNQUOTE.sub("", "\n".join(lines)).strip(), "", "")


@dataclass(frozen=True)
class _Mark:
    """What stands between one's own words and a message that is quoted or forwarded."""

    kind: str  # "introduction", "original", "forward", "desk text" or "end of desk text"
    end: int  # first line after the mark and its header lines
    above: int = 0  # lines above, of a wrapped introduction


@dataclass(frozen=True)
class _DeskLines:
    """The lines by which a help desk parts answers from its own text."""

    are_possible: bool
    own: str | None

    def kind(self, line: str) -> str | None:
        if not self.are_possible:
            return None
        if _patterns().answer_above.fullmatch(line) or (self.own and _bare(line) == self.own):
            return "desk text"
        return "end of desk text" if _patterns().answer_below.fullmatch(line) else None


def _bare(line: str) -> str:
    """`line` without the marks around it, for comparison."""
    return " ".join(re.sub(r"^[\W_]+|[\W_]+$", "", line).casefold().split())


def _split(
    lines: list[str], forwarded: bool, depth: int, author: NameWords, desk_lines: _DeskLines
) -> ReplyParts:
    segments: list[list[str] | ReplyParts] = []
    own: list[str] = []
    quoted: list[str] = []
    position = 0
    while position < len(lines):
        if QUOTED.match(lines[position]) and not _is_shown(lines, position, own):
            is_request = forwarded
            end = _marked_end(lines, position)
        else:
            mark = _mark(lines, position, len(own), desk_lines)
            if mark is None:
                own.append(lines[position])
                position += 1
                continue
            kept = len(own) - mark.above
            quoted.extend([*own[kept:], *lines[position : mark.end]])
            own = own[:kept]
            position = end = mark.end
            if mark.kind == "end of desk text":
                is_request = False
            elif starts_quoted(lines, position):
                is_request = forwarded or mark.kind == "forward"
                end = _marked_end(lines, position)
            else:
                is_request = mark.kind == "forward" or (
                    mark.kind != "desk text" and (forwarded or _points_below([*segments, own]))
                )
                end = len(lines) if is_request else _unmarked_end(lines, position, desk_lines)
        if own:
            segments.append(own)
            own = []
        if is_request and depth:
            message = _unquoted(lines[position:end])
            segments.append(_split(message, False, depth - 1, name_words(None), desk_lines))
        else:
            quoted.extend(lines[position:end])
        position = end
    parts = [
        segment if isinstance(segment, ReplyParts) else _own_and_signature(segment, author)
        for segment in [*segments, own]
    ]
    return ReplyParts(
        _joined([part.own for part in parts]),
        "\n".join([*quoted, *(part.quoted for part in parts)]).strip(),
        _joined([part.signature for part in parts]),
    )


def _own_and_signature(lines: list[str], author: NameWords) -> ReplyParts:
    own, signature = cut_signature(lines, author)
    return ReplyParts(own, "", signature)


def _mark(lines: list[str], position: int, above: int, desk_lines: _DeskLines) -> _Mark | None:
    """The mark that ends at this line or begins with it, if there is one."""
    line = lines[position].strip(" *\t")
    if not line or len(line) > MAX_LINE:
        return None
    if kind := desk_lines.kind(line):
        rule = lines[position - 1].strip() if above else ""
        return _Mark(kind, position + 1, int(bool(rule) and not re.search(r"\w", rule)))
    if not lines[position][0].isalnum() and _patterns().original.fullmatch(lines[position]):
        kind = "original"
    elif line[-1] in ":-" and _patterns().forward.fullmatch(line):
        kind = "forward"
    if kind:
        return _Mark(kind, headers_end(lines, position + 1, is_announced=True) or position + 1)
    if (":" in line or line[0] in "_-=#~") and (end := _announced_headers_end(lines, position)):
        return _Mark("original", end)
    lines_above = introduction(lines, position, above)
    return None if lines_above is None else _Mark("introduction", position + 1, lines_above)


def _announced_headers_end(lines: list[str], position: int) -> int:
    """Index after mail headers below a rule, a line between dashes, or nothing; 0 if none."""
    for _ in range(_MAX_ANNOUNCING):
        while position < len(lines) and not lines[position].strip():
            position += 1
        if position == len(lines):
            break
        if header(lines[position]) and (end := headers_end(lines, position)):
            return end
        if not _ANNOUNCING.fullmatch(lines[position].strip()):
            break
        position += 1
    return 0


def _marked_end(lines: list[str], position: int) -> int:
    """Index after the `>` lines that begin here; empty lines may stand before and between them."""
    end = position
    for index in range(position, len(lines)):
        if QUOTED.match(lines[index]):
            end = index + 1
        elif lines[index].strip():
            break
    return end


def _unmarked_end(lines: list[str], position: int, desk_lines: _DeskLines) -> int:
    """Index after a quoted message without `>`: its author's words go on below what it quotes.

    That is below `>` lines which are introduced, or where a desk's text ends.
    """
    for index in range(position, len(lines)):
        if desk_lines.kind(lines[index].strip()) == "end of desk text":
            return index
        if not QUOTED.match(lines[index]):
            continue
        above = index - 1
        while above >= position and not lines[above].strip():
            above -= 1
        is_introduced = (
            above >= position
            and not QUOTED.match(lines[above])
            and introduction(lines, above, above - position) is not None
        )
        if is_introduced:
            return index
    return len(lines)


def _unquoted(lines: list[str]) -> list[str]:
    """`lines` without the outermost `>`, where all share it."""
    if all(QUOTED.match(line) for line in lines if line.strip()):
        return [_UNQUOTE_ONCE.sub("", line) for line in lines]
    return lines


def _points_below(segments: list[list[str] | ReplyParts]) -> bool:
    """Whether nothing, or a short note like "Voir ci-dessous", stands above a message."""
    parts = [
        part if isinstance(part, ReplyParts) else _own_and_signature(part, name_words(None))
        for part in segments
    ]
    note = " ".join(part.own for part in parts)
    return not any(_says_something(part.own) for part in parts) or (
        len(note.split()) <= _MAX_NOTE_WORDS and bool(_patterns().note.search(note))
    )


def _says_something(text: str) -> bool:
    """Whether `text` is more than a greeting."""
    return any(re.search(r"\w", line) and not is_greeting(line) for line in text.split("\n"))


def _is_shown(lines: list[str], position: int, segment: list[str]) -> bool:
    """Whether a `>` line is part of what the author shows: a trace, a Python session."""
    if lines[position].lstrip().startswith(">>> "):
        return not (position and QUOTED.match(lines[position - 1]))
    above = next((line for line in reversed(segment) if line.strip()), "")
    if QUOTED.match(above):
        return bool(segment[-1].strip())
    return above.rstrip().endswith(":")


def _joined(parts: list[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(part for part in parts if part)).strip()
