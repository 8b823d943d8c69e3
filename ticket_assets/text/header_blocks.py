"""The header lines that a mail client writes above a quoted message: "From: ... Sent: ..."."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import NamedTuple

from ticket_assets.text.introductions import is_date
from ticket_assets.text.languages import all_words, one_of

_KINDS = ("sender", "sent", "date", "subject", "other")
_MAX_LINES = 60
_MAX_FOLDED = {"other": 25, "subject": 2}  # lines; recipients fill the most
_MIN_FOLDED_SUBJECT = 50  # characters; a shorter one is not folded


class Header(NamedTuple):
    """One header line."""

    kind: str  # one of _KINDS
    label: str
    value: str


@functools.cache
def _pattern() -> re.Pattern[str]:
    words = all_words()
    names = "|".join(f"(?P<{kind}>{one_of(getattr(words, f'header_{kind}'))})" for kind in _KINDS)
    return re.compile(
        rf"[*_\s]{{0,3}}(?:{names})[*_]{{0,3}}(?:(?P<colon>\s?:)[*_]{{0,3}}|\s(?=[0-9]))(?P<value>.*)",
        re.IGNORECASE,
    )


def header(line: str) -> Header | None:
    """The header that `line` is.

    Hotmail puts no blank behind the colon. Nobody begins a sentence so with "Sent" or "Subject";
    after "De :9h" an address must follow.
    """
    match = _pattern().match(line)
    if match is None:
        return None
    kind = next(kind for kind in _KINDS if match[kind])
    value = match["value"]
    is_apart = not value or value[0].isspace() or "@" in value
    if (kind in ("sender", "other") and not is_apart) or (kind != "date" and not match["colon"]):
        return None
    return Header(kind, match[kind].lower(), value.strip(" *_"))


def headers_end(lines: Sequence[str], position: int, *, is_announced: bool = False) -> int:
    """Index after a block of mail headers that starts here (blank lines allowed), 0 if none does.

    A block names the sender and, within the next lines, a date or a subject and one more header. A
    form with the same labels ("De : 9h / À : 11h") is none: its sender is no time or number, and
    unless the block `is_announced` it has an address or a label that only mail has, as "Sent".
    """
    while position < len(lines) and not lines[position].strip():
        position += 1
    headers: list[Header] = []
    end = blanks = 0
    for index in range(position, min(position + _MAX_LINES, len(lines))):
        line = lines[index]
        if not line.strip():
            blanks += 1
            if blanks > 1 and len(headers) > 2:
                break
        elif found := header(line):
            headers.append(found)
            end, blanks = index + 1, 0
        elif not headers or blanks:
            break
        elif index >= end and not (end := _folded_end(lines, index, headers)):
            end = index
            break
    return end if _is_mail(headers, "@" in "".join(lines[position:end]), is_announced) else 0


def _folded_end(lines: Sequence[str], position: int, headers: Sequence[Header]) -> int:
    """Index after the lines that continue the header above; 0 if the text begins here."""
    kind = headers[-1].kind
    above = lines[position - 1].rstrip()
    if kind == "subject" and len(above) < _MIN_FOLDED_SUBJECT:
        return 0
    labels = {known.label for known in headers}
    limit = position + _MAX_FOLDED.get(kind, 1)
    end = position
    while end < len(lines) and end < limit and lines[end].strip():
        if below := header(lines[end]):
            return end if below.label not in labels else 0
        end += 1
    if end < len(lines) and end < limit + 1 and (below := header(lines[end])):
        return end if below.label not in labels else 0
    # Nothing but the block's empty line follows: the text could as well begin here.
    folded = [line.strip() for line in lines[position:end]]
    if end == len(lines) or lines[end].strip():
        return 0
    if kind == "subject":
        is_folded = len(folded) == 1 and not folded[0][0].isupper() and folded[0][-1] not in ".!?"
    else:
        is_folded = (above[-1] in "<,;" or above.count("<") > above.count(">")) and all(
            "@" in line or line[-1] in ",;" for line in folded
        )
    return end if is_folded else 0


def _is_mail(headers: Sequence[Header], has_address: bool, is_announced: bool) -> bool:
    kinds = [found.kind.replace("sent", "date") for found in headers]
    known = set(kinds)
    # Thunderbird puts the subject first: "Sujet : / Date : / De : / Pour :".
    is_block = (
        len(known) > 2 and bool(known & {"date", "subject"})
        if kinds[:1] == ["sender"]
        else len(known) > 3 and kinds[0] != "other"
    )
    return (
        is_block
        and not any(is_date(found.value) for found in headers if found.kind == "sender")
        and (is_announced or has_address or any(found.kind == "sent" for found in headers))
    )
