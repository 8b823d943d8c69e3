"""Splits a mail body into what its author wrote, what it quotes, and its signature."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import NamedTuple

from ticket_assets.text.characters import readable
from ticket_assets.text.languages import all_words, one_of, phrases
from ticket_assets.text.signatures import NameWords, cut_signature, name_words

_MAX_LINES = 4_000
_MAX_MARKER = 300  # characters; longer lines are prose
_MAX_FORWARDS = 4
_MAX_FOREIGN_LINES = 500
_MAX_WRAPPED_INTRO = 4


class ReplyParts(NamedTuple):
    """The three parts of a body; `own` is empty only when the body is."""

    own: str
    quoted: str
    signature: str


# What another language's introduction looks like; quotequail knows some of these.
_INTRO_SHAPE = re.compile(r"(?=.*(?:[0-9]:[0-9]{2}|[0-9]{4}|@)).*(?::|@.*>)|-{3,}.*[^\W\d].*-{3,}")
_MAX_NOTE_WORDS = 20
_RULE = re.compile(r"[_\-=*]{5,}")
_QUOTED = re.compile(r"\s{0,3}>")
_UNQUOTE = re.compile(r"^(?:\s{0,3}> ?)+", re.MULTILINE)


class _Patterns:
    """Lines around quoted messages, in the words of all languages."""

    def __init__(self) -> None:
        words = all_words()
        starts, verbs = one_of(words.introduction_starts), one_of(words.introduction_verbs)
        # Each needs a digit or an address before the verb, so that "Le serveur a écrit :" in a
        # report stays; a date or an address is always there in a reply.
        self.introduction = re.compile(
            rf"{starts}\b.*[0-9@].*\b{verbs}\b.{{0,120}}:|(?=.*[0-9@]).{{2,160}}\b{verbs}\s?:",
            re.IGNORECASE,
        )
        self.introduction_start = phrases(words.introduction_starts, r"\W{0,2}", r"\s")
        # "Le 12/03 le serveur a écrit :" introduces a log.
        self.thing_wrote = re.compile(rf"\b{one_of(words.thing_introductions)}")
        self.original = phrases(words.original_marks, r"[-_*\s]{3,}", r"[-_*\s:]*")
        self.forward = phrases(words.forward_marks, r"(?:-{2,}\s*)?", r"(?:\s*-{2,}|\s?:)")
        names = "|".join(
            f"(?P<{kind}>{one_of(getattr(words, f'header_{kind}'))})"
            for kind in ("sender", "date", "subject", "other")
        )
        self.header = re.compile(
            rf"[*_\s]{{0,3}}(?:{names})[*_]{{0,3}}\s?:[*_]{{0,3}}(?:\s|$)", re.IGNORECASE
        )
        self.note = phrases(words.notes_below, r"\b", r"\b")


_patterns = functools.cache(_Patterns)


def is_forward_marker(line: str) -> bool:
    """Whether `line` announces a forwarded message ("---- Message transféré ----")."""
    return bool(_patterns().forward.match(line.strip(" *>\t")))


def split_reply(text: str, *, forwarded: bool = False, author: str | None = None) -> ReplyParts:
    """The author's own words, the quoted messages and the signatures of a plain-text body.

    The author's words are never lost. Text between and below `>` lines is theirs. A message that
    is forwarded rather than answered (an explicit marker, or `forwarded`, for a subject like
    "TR:") is part of the request: its text is kept, its header lines and what it quotes in turn
    are not. When nothing else is left, `own` is the whole text with its `>` taken away.

    The `author`'s name as the message gives it, when known, tells a signature from other people's
    details. Only the first 4,000 lines are looked at; the rest is dropped.
    """
    lines = readable(text).split("\n", _MAX_LINES)[:_MAX_LINES]
    parts = _split(lines, forwarded, _MAX_FORWARDS, name_words(author))
    if parts.own:
        return parts
    return ReplyParts(_UNQUOTE.sub("", "\n".join(lines)).strip(), "", "")


def _split(lines: list[str], forwarded: bool, depth: int, author: NameWords) -> ReplyParts:
    segments: list[list[str]] = [[]]
    quoted: list[str] = []
    forward: ReplyParts | None = None
    position = 0
    while position < len(lines):
        line = lines[position]
        if ">" in line and _QUOTED.match(line) and not _is_shown(lines, position, segments[-1]):
            if forwarded and depth and (end := _quoted_headers_end(lines, position)):
                quoted.extend(lines[position:end])
                rest = [_UNQUOTE.sub("", line) for line in lines[end:]]
                forward = _split(rest, False, depth - 1, name_words(None))
                break
            quoted.append(line)
            position += 1
            if segments[-1]:
                segments.append([])
            continue
        mark = _mark(lines, position)
        if mark is None:
            segments[-1].append(line)
            position += 1
            continue
        quoted.extend(lines[position : mark.end])
        rest = lines[mark.end :]
        position = mark.end
        if mark.kind == "intro" and _starts_quoted(rest):
            segments.append([])
            continue
        forwards = forwarded or mark.kind == "forward" or _points_below(segments)
        if forwards and depth:
            rest = [_UNQUOTE.sub("", line) for line in rest]
            forward = _split(rest, False, depth - 1, name_words(None))
        else:
            quoted.extend(rest)
        break
    own: list[str] = []
    signatures: list[str] = []
    for segment in segments:
        kept, signature = cut_signature(segment, author)
        own.append(kept)
        signatures.append(signature)
    if forward is not None:
        own.append(forward.own)
        quoted.append(forward.quoted)
        signatures.append(forward.signature)
    return ReplyParts(_joined(own), "\n".join(quoted).strip(), _joined(signatures))


@dataclass(frozen=True)
class _Mark:
    kind: str  # "intro", "original" or "forward"
    end: int  # first line after the marker and its header lines


def _mark(lines: list[str], position: int) -> _Mark | None:
    """The marker of a quoted message that starts at this line, if there is one."""
    line = lines[position].strip(" *\t")
    if not line or len(line) > _MAX_MARKER:
        return None
    kind = None
    if not lines[position][0].isalnum() and _patterns().original.fullmatch(lines[position]):
        kind = "original"
    if line[-1] in ":-" and _patterns().forward.fullmatch(line):
        kind = "forward"
    if kind:
        return _Mark(kind, _headers_end(lines, position + 1) or position + 1)
    end = 0
    if _RULE.fullmatch(line):
        end = _headers_end(lines, position + 1)
    elif ":" in line and _patterns().header.match(line):
        end = _headers_end(lines, position)
    return _Mark("original", end) if end else _intro_mark(lines, position)


def _intro_mark(lines: list[str], position: int) -> _Mark | None:
    line = lines[position].strip(" *\t")
    end = _intro_end(lines, position)
    if not end and (line[-1] not in ":>-" or not _INTRO_SHAPE.fullmatch(line)):
        return None
    if _patterns().thing_wrote.search(line):
        return None
    if end:
        return _Mark("intro", end)
    # In any language: a line with a date or an address, right above quoted lines.
    if line.endswith(":") and _starts_quoted(lines[position + 1 : position + 3]):
        return _Mark("intro", position + 1)
    return _foreign_mark(lines, position) if position < _MAX_FOREIGN_LINES else None


def _intro_end(lines: list[str], position: int) -> int:
    """Index after the "On ... wrote:" line, which clients wrap over up to four lines; 0 if none."""
    joined = ""
    wraps = _MAX_WRAPPED_INTRO if _patterns().introduction_start.match(lines[position]) else 1
    if wraps == 1 and ":" not in lines[position]:
        return 0
    for end in range(position, min(position + wraps, len(lines))):
        line = lines[end].strip(" *\t")
        if not line or len(joined) + len(line) > _MAX_MARKER:
            return 0
        joined = f"{joined} {line}" if joined else line
        if line.endswith(":") and _patterns().introduction.fullmatch(joined):
            return end + 1
    return 0


def _foreign_mark(lines: list[str], position: int) -> _Mark | None:
    """A marker in one of the languages that only quotequail knows.

    It is asked about one line that looks like a marker, never about a whole text: its search is
    quadratic in header lines (6 s for 5,000 of them), and 0.5 ms per line.
    """
    line = lines[position].strip(" *\t")
    import quotequail

    kind = (quotequail.unwrap(f"{line}\n\n.") or {}).get("type")
    if kind == "forward":
        return _Mark("forward", _headers_end(lines, position + 1) or position + 1)
    return _Mark("intro", position + 1) if kind == "reply" else None


def _headers_end(lines: list[str], position: int) -> int:
    """Index after a block of mail headers that starts here (blank lines allowed), 0 if none.

    A block names the sender and, within the next lines, a date or a subject and one more header.
    """
    while position < len(lines) and not lines[position].strip():
        position += 1
    header = _patterns().header
    kinds: list[str] = []
    end = blanks = others = 0
    for index in range(position, min(position + 14, len(lines))):
        line = lines[index]
        if not line.strip():
            blanks += 1
            if blanks > 1 and len(kinds) > 2:
                break
            continue
        if match := header.match(line):
            kinds.append(match.lastgroup or "")
            end, others = index + 1, 0
        elif not kinds or others or blanks or "subject" in kinds:
            break
        else:
            others += 1  # a long list of recipients wraps
        blanks = 0
    known = set(kinds)
    if kinds[:1] == ["sender"] and len(known) > 2 and known & {"date", "subject"}:
        return end
    # Thunderbird puts the subject first: "Sujet : / Date : / De : / Pour :".
    if kinds[:1] in (["subject"], ["date"]) and len(known) > 3:
        return end
    return 0


def _quoted_headers_end(lines: list[str], position: int) -> int:
    """Index after mail headers that stand behind `>` marks, as some phones forward; 0 if none."""
    above = position and _QUOTED.match(lines[position - 1])
    unquoted = [_UNQUOTE.sub("", line) for line in lines[position : position + 16]]
    end = 0 if above else _headers_end(unquoted, 0)
    return end and position + end


def _starts_quoted(lines: list[str]) -> bool:
    return next((bool(_QUOTED.match(line)) for line in lines if line.strip()), False)


def _points_below(segments: list[list[str]]) -> bool:
    """Whether nothing, or a short note like "Voir ci-dessous", stands above a message."""
    note = " ".join(line for segment in segments for line in segment)
    return not re.search(r"\w", note) or (
        len(note.split()) <= _MAX_NOTE_WORDS and bool(_patterns().note.search(note))
    )


def _is_shown(lines: list[str], position: int, segment: list[str]) -> bool:
    """Whether a `>` line is part of what the author shows: a trace, a Python session."""
    if lines[position].lstrip().startswith(">>> "):
        return not (position and _QUOTED.match(lines[position - 1]))
    above = next((line for line in reversed(segment) if line.strip()), "")
    if _QUOTED.match(above):
        return bool(segment[-1].strip())
    return above.rstrip().endswith(":")


def _joined(parts: list[str]) -> str:
    return re.sub(r"\n{3,}", "\n\n", "\n".join(part for part in parts if part)).strip()
